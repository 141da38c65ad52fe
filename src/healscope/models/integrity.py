"""Is this the model that was saved? Three checks; each refuses a checkpoint by name.

- `load`: every key of the files has a place in the model, and every parameter came from a file.
- `check_trained`: the matrices are not those of a fresh initialisation.
- `check_logits`: the model answers a stored prompt as it did when it was saved.

Loading that tolerates missing keys leaves random weights in their place and says nothing. What is
measured of them afterwards looks like a finding: singular values of two random matrices agree to a
percent, and every singular vector has turned.
"""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models.stored import Stored

LOGITS = "logits.json"
"""File of a checkpoint folder: what the model said to a stored prompt when it was saved."""

PROMPT_TOKENS = 32
LOGITS_KEPT = 1024

LIMITS = {"float32": 1e-2, "bfloat16": 1e-1, "float16": 1e-1}
"""Precision at saving -> relative difference of logits that is still the same model.

Models are loaded in float32. From one machine to another, or from CPU to GPU, its logits differ by
1e-6 to 1e-4, with TF32 by some 1e-3; logits that were computed in bfloat16 are off by some 1e-2.
Another model differs by about 1.
"""

SMALLEST_RANK = 32  # below it a spectrum is too short to tell random from trained
STANDARD_ERRORS = 4  # of the standard deviation of a fresh matrix's entries
DISTANCE = 5  # of a fresh spectrum from its law, in steps of its distribution function
SAMPLE = 8  # matrices decomposed at most
_NOT_COUNTED = ("embed", "lm_head", "wte", "wpe", "norm")


def load(source: str, revision: str | None = None):
    """The causal language model of a folder or hub id, in float32, whole or not at all.

    Tied weights need only one of their names, and buffers none. Towers for images or sound, which
    a causal language model leaves out, may be there. Raises HealscopeError where keys are missing,
    unexpected or of another shape; what transformers raises passes through.
    """
    # here, because importing transformers takes longer than most jobs that only read weights
    import transformers
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    family = AutoModelForCausalLM
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and config.architectures:
        # the language part of Mllama, once it is saved on its own, is in no mapping
        family = getattr(transformers, config.architectures[0], family)
    model, info = family.from_pretrained(
        source,
        revision=revision,
        dtype=torch.float32,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # so that they are named below, with what else is wrong
        output_loading_info=True,
    )
    refuse_other_keys(
        str(source),
        missing=info["missing_keys"],
        unexpected=[k for k in info["unexpected_keys"] if not _of_another_tower(k)],
        reshaped=[k for k, *_ in info["mismatched_keys"]],
    )
    return model


def refuse_other_keys(source: str, missing=(), unexpected=(), reshaped=()) -> None:
    """Raises HealscopeError where any key of a checkpoint is not as the model needs it."""
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    found = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if len(keys)]
    if found:
        raise HealscopeError(
            f"{source}: its weights are not those of the model that its config.json describes: "
            f"{'; '.join(found)}. What is missing would be random; save the model again from the "
            "class that config.json names"
        )


def _some(keys) -> str:
    first, *rest = sorted(keys)
    return f"{first}, …" if rest else first


def _of_another_tower(key: str) -> bool:
    return any(part in key for part in ("vision", "visual", "audio", "multi_modal", "mm_projector"))


def initial_std(config: dict) -> float:
    """Standard deviation with which transformers draws new weights, from a config.json."""
    text = config.get("text_config") or config
    return float(text.get("initializer_range") or text.get("init_std") or 0.02)


def check_trained(weights: Mapping[str, torch.Tensor], init_std: float, source: str) -> None:
    """Refuses a model half of whose matrices, or more, cannot be told from freshly drawn ones.

    `weights`: name -> tensor; the 2-D ones of the language model count, embeddings and norms aside.
    The mapping may read from disk: each matrix is asked for once or twice. `init_std` is that of
    `initial_std`. A matrix (m, n), rank r, is taken for fresh where both hold:

    - the standard deviation of its entries is `init_std` within 4 standard errors, which are
      1/sqrt(2mn), or 1% where that is more (initialisers that cut off tails, rounding). Of the
      scale this says more than the spectrum can, and it costs no decomposition;
    - its squared singular values follow the Marchenko-Pastur law of independent entries of that
      standard deviation, within a Kolmogorov distance of 5/r. Singular values of a random matrix
      repel each other, so that the distance is a few steps of size 1/r however large r is (up to
      3.8/r in simulations of r = 32 to 2048), where independent draws would be off by 1/sqrt(r).

    The second is looked at only where the first holds for half of them, and for a few matrices. One
    matrix says little (a layer may be close to where it began); all of them would miss models that
    draw some at another scale, as GPT-2 does. Raises HealscopeError.
    """
    fits = fresh_scale(weights, init_std)
    alike = [name for name, fit in fits.items() if fit]
    if not fits or 2 * len(alike) < len(fits):
        return
    sampled = alike[:: math.ceil(len(alike) / SAMPLE)]
    random = [n for n in sampled if spectral_distance(weights[n], init_std) < _reach(weights[n])]
    if 2 * len(alike) * len(random) >= len(fits) * len(sampled):
        raise HealscopeError(
            f"{source}: its weights are random. {len(alike)} of {len(fits)} matrices have entries "
            f"of standard deviation {init_std:g}, as its config.json initialises them, and "
            f"{len(random)} of {len(sampled)} spectra looked at follow the Marchenko-Pastur law of "
            "such noise. Load the trained weights into it and save it again; if it is meant to be "
            "untrained, set models.*.check_random: false"
        )


def fresh_scale(weights: Mapping[str, torch.Tensor], init_std: float) -> dict[str, bool]:
    """Name of each matrix that counts -> whether its entries have the initial deviation."""
    found = {}
    for name in weights:
        if any(part in name for part in _NOT_COUNTED) or _of_another_tower(name):
            continue
        w = weights[name]
        if w.ndim == 2 and min(w.shape) >= SMALLEST_RANK:
            limit = max(0.01, STANDARD_ERRORS / math.sqrt(2 * w.numel()))
            found[name] = abs(float(w.float().std()) / init_std - 1) < limit
    return found


def _reach(weight: torch.Tensor) -> float:
    return DISTANCE / min(weight.shape)


def spectral_distance(weight: torch.Tensor, std: float) -> float:
    """Kolmogorov distance of a matrix's squared singular values from the Marchenko-Pastur law of
    independent entries with standard deviation `std`."""
    w = weight.detach().double()
    w = w if w.shape[0] >= w.shape[1] else w.T
    squares = torch.linalg.eigvalsh(w.T @ w).numpy(force=True)
    law = np.interp(squares, *marchenko_pastur(*w.shape, std))
    steps = np.arange(len(squares) + 1) / len(squares)
    return float(np.maximum(np.abs(law - steps[:-1]), np.abs(law - steps[1:])).max())


def marchenko_pastur(m: int, n: int, std: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, share of the eigenvalues of W'W that are at most x) for W (m, n), m >= n, of independent
    entries with mean 0 and standard deviation `std`, as m and n grow (Marchenko and Pastur 1967).

    With x on the arc (b + a)/2 - (b - a)/2 cos t the density is smooth in t, also at the hard edge
    x = 0 of a square matrix.
    """
    ratio = n / m
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    half = (high - low) / 2
    t = np.linspace(0, np.pi, 4097)
    x = low + 2 * half * np.sin(t / 2) ** 2
    # sin(t)^2 / x, with its limit where both are 0
    sine = np.divide(np.sin(t) ** 2, x, out=np.full_like(t, 1.0), where=x > 0)
    density = half**2 * sine / (2 * np.pi * ratio)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(t))])
    return x * m * std**2, below / below[-1]


def check_folder(folder: str | Path) -> None:
    """`check_trained` for a Hugging Face folder, tensor by tensor."""
    config = provenance.read_json(Path(folder) / "config.json")
    check_trained(Stored(folder), initial_std(config), str(folder))


@torch.no_grad()
def _logits(model, ids: list[int]) -> list[float]:
    """Logits after the last of `ids`, at up to LOGITS_KEPT tokens spread over the vocabulary."""
    training = model.training
    model.eval()
    row = torch.tensor([ids], device=model.device)
    last = model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -1].float()
    model.train(training)
    return last[:: math.ceil(len(last) / LOGITS_KEPT)].tolist()


def record_logits(folder: str | Path, model) -> None:
    """Writes what the model says to a prompt: ids spread over its vocabulary, so that none of its
    tokenizer and task are needed and many embeddings and positions take part."""
    size = model.get_input_embeddings().weight.shape[0]
    ids = [i * size // PROMPT_TOKENS for i in range(PROMPT_TOKENS)]
    content = {
        "precision": str(model.dtype).removeprefix("torch."),
        "ids": ids,
        "logits": [float(f"{x:.7g}") for x in _logits(model, ids)],
    }
    provenance.write_json(Path(folder) / LOGITS, content)


def check_logits(folder: str | Path, model) -> float | None:
    """How far the model's logits are from those recorded in its folder; refused beyond LIMITS.

    The difference is |now - then| / |then - mean(then)|, Euclidean norms. None where nothing was
    recorded: by a version that did not, or by another program.
    """
    file = Path(folder) / LOGITS
    if not file.is_file():
        print(f"healscope: {folder} holds no recorded logits to check", file=sys.stderr)
        return None
    content = provenance.read_json(file)
    then, now = np.array(content["logits"]), np.array(_logits(model, content["ids"]))
    limit = LIMITS.get(content["precision"], LIMITS["float32"])
    return _refuse_other_logits(
        folder, then, now, limit, "was config.json changed, or the version of transformers?"
    )


def check_answers(
    folder: str | Path, logprobs: Callable[[list[int]], list[float]], precision: str
) -> float | None:
    """`check_logits` for an engine that computes in `precision` and tells log-probabilities.

    `logprobs`: token ids -> log-probability of every next token; they are logits but for a
    constant, so that both are compared less their means. None where nothing was recorded.
    """
    file = Path(folder) / LOGITS
    if not file.is_file():
        print(f"healscope: {folder} holds no recorded logits to check", file=sys.stderr)
        return None
    content = provenance.read_json(file)
    then, now = np.array(content["logits"]), np.array(logprobs(content["ids"]))
    now = now[:: math.ceil(len(now) / LOGITS_KEPT)]
    limit = max(LIMITS.get(p, 0) for p in (content["precision"], precision, "float32"))
    return _refuse_other_logits(
        folder, then - then.mean(), now - now.mean(), limit, "does the engine know this model?"
    )


def _refuse_other_logits(
    folder: str | Path, then: np.ndarray, now: np.ndarray, limit: float, why: str
) -> float:
    scale = max(float(np.linalg.norm(then - then.mean())), 1e-30)
    same = then.shape == now.shape
    difference = float(np.linalg.norm(now - then)) / scale if same else math.inf
    if not difference <= limit:  # also NaN
        raise HealscopeError(
            f"{folder}: the model that was loaded is not the one that was saved: on a stored "
            f"prompt its logits differ by {difference:.2g} of their spread (at most {limit:g}); "
            f"{why} Load it as it was saved"
        )
    return difference
