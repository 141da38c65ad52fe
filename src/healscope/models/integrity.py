"""Is this the model that was saved? Three checks; each refuses a checkpoint by name.

- `load`: every key of the files has a place in the model, and every parameter came from a file.
- `check_trained`: no role's matrices are those of a fresh initialisation.
- `check_logits`: the model answers a stored prompt as it did when it was saved.

Loading that tolerates missing keys leaves random weights in their place and says nothing. What is
measured of them afterwards looks like a finding: singular values of two random matrices agree to a
percent, and every singular vector has turned.
"""

import functools
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import noise, skeletons
from healscope.models.stored import LOGITS, Stored, refuse_not_finite

PROMPT_TOKENS = 32
LOGITS_KEPT = 1024

LIMITS = {"float32": 1e-2, "bfloat16": 1e-1, "float16": 1e-1}
"""Precision at saving -> relative difference of logits that is still the same model.

The precision in which a model is loaded counts as well. In float32, from one machine to another,
or from CPU to GPU, its logits differ by 1e-6 to 1e-4, with TF32 by some 1e-3; logits that were
computed in bfloat16 are off by some 1e-2. Another model differs by about 1.
"""

GENERATION = "generation_config.json"
SAMPLE = 4  # matrices of a role decomposed at most


def load(source: str, revision: str | None = None, dtype: torch.dtype = torch.float32):
    """Load the causal language model of a folder or hub id in `dtype`.

    Tied weights need only one of their names, and buffers none. Towers for images or sound, which
    a causal language model leaves out, may be there. A folder whose weights are not read as they
    lie there (an adapter, names with a prefix; `Stored`) is read tensor by tensor. A folder with
    pictures makes a model that sees them (`models.pictures`). Raises HealscopeError where keys are
    missing, unexpected or of another shape; what transformers raises passes through.
    """
    # here, because importing transformers takes longer than most jobs that only read weights
    from transformers import AutoConfig

    from healscope.models import pictures

    if Path(source).is_dir() and not (stored := Stored(source)).as_it_lies:
        model = _filled(stored, dtype)
        pictures.load(stored.config.parent, model)
        return model
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    model, info = skeletons.family(config).from_pretrained(
        source,
        revision=revision,
        dtype=dtype,
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
    for name, tensor in model.state_dict().items():
        refuse_not_finite(f"{source}: {name}", tensor)
    pictures.load(source, model)
    return model


@torch.no_grad()
def _filled(stored: Stored, dtype: torch.dtype):
    """Return the model of `stored`, in `dtype`, whose tensors are read one after the other."""
    model = skeletons.empty(stored.config.parent, stored.vocabulary, dtype)
    places = model.state_dict()
    for name, tensor in stored.items():
        if name in places and places[name].shape == tensor.shape:
            places[name].copy_(tensor)
    written = {places[name].data_ptr() for name in stored if name in places}
    refuse_other_keys(
        str(stored.folder),
        missing=[n for n, t in places.items() if t.data_ptr() not in written],
        unexpected=[n for n in stored if n not in places and not _of_another_tower(n)],
        reshaped=[n for n, s in stored.shapes.items() if n in places and places[n].shape != s],
    )
    if (stored.config.parent / GENERATION).is_file():
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(stored.config.parent)
    return model


def refuse_other_keys(source: str, missing=(), unexpected=(), reshaped=()) -> None:
    """Raise HealscopeError where any key of a checkpoint is not as the model needs it."""
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    found = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if len(keys)]
    if found:
        raise HealscopeError(
            f"{source}: its weights are not those of the model that its config.json describes: "
            f"{'; '.join(found)}. What is missing would be random; save the model again from the "
            "class that config.json names"
        )


def refuse_untied(source: str, weights: Stored) -> None:
    """Refuse embeddings and a head that differ where config.json says that they are one matrix.

    transformers then keeps two matrices, and a program that takes them for one would overwrite
    one with the other.
    """
    if not weights.tied:
        return
    embeddings, head = weights.tied
    if not weights[head].equal(weights[embeddings]):
        raise HealscopeError(
            f"{source}: its config.json ties the output layer to the embeddings, "
            f"and {head} differs from {embeddings}. Untie the base and all checkpoints: load each, "
            "set model.config.tie_word_embeddings = False and model.lm_head.weight = "
            "torch.nn.Parameter(model.lm_head.weight.detach().clone()), and save it with "
            "save_pretrained"
        )


def _some(keys) -> str:
    first, *rest = sorted(keys)
    return f"{first}, …" if rest else first


def _of_another_tower(key: str) -> bool:
    return any(part in key for part in ("vision", "visual", "audio", "multi_modal", "mm_projector"))


def initial_std(config: dict) -> float:
    """Return the standard deviation with which transformers draws new weights, from a
    config.json."""
    text = config.get("text_config") or config
    return float(text.get("initializer_range") or text.get("init_std") or 0.02)


def check_trained(weights: Mapping[str, torch.Tensor], init_std: float, source: str) -> None:
    """Refuse a model whose weights, or all of one role, cannot be told from freshly drawn ones.

    `weights`: name -> tensor; the 2-D ones of the language model with a shorter side of at least
    32 count. The mapping may read from disk: a tensor is asked for anew each time. `init_std` is
    that of `initial_std`. A matrix is taken for fresh where its rows, and columns, are as even as
    those of independent entries, its spectrum follows their law (`noise`), at any scale, and it
    does not stretch the directions that others do; a smaller one than 160 also has to
    have a scale at which a usual initialiser draws. Refused are:

    - a role (the matrices of one name, all layers) of which every matrix is fresh;
    - a model of whose matrices at least half are fresh;
    - one of which at least three quarters follow the law, whatever the scale.

    Of a role with many layers four matrices are looked at, and spectra are computed of those alone
    whose rows and columns are even: of a trained model of some size, hardly any. Where a spectrum
    follows the law, directions are compared with all other matrices looked at. Raises
    HealscopeError.
    """
    roles = roles_of(weights)
    layers = max(map(len, roles.values()), default=0)
    alike, fresh, total = 0.0, 0.0, sum(map(len, roles.values()))
    samples = {role: names[:: math.ceil(len(names) / SAMPLE)] for role, names in roles.items()}

    @functools.cache  # of most trained models never asked for
    def together() -> torch.Tensor:
        names = [name for sampled in samples.values() for name in sampled]
        width = noise.commonest_side(_shapes(weights)[n] for n in names)
        return noise.shared_directions((weights[n] for n in names), width)

    for role, names in roles.items():
        sampled = samples[role]
        seen = {name: noise.look(weights[name]) for name in sampled}
        random = [
            n
            for n in sampled
            if seen[n]
            and seen[n].even
            and noise.follows_law(weights[n])
            and noise.alignment(weights[n], together()) < noise.ALIGNED
        ]
        drawn = [
            n
            for n in random
            if seen[n].rank >= noise.LONG_RANK or noise.usual_scale(seen[n], init_std, layers)
        ]
        if len(drawn) == len(sampled):
            raise _random(source, f"all of {role} ({len(names)} of {total} matrices)")
        alike += len(random) / len(sampled) * len(names)
        fresh += len(drawn) / len(sampled) * len(names)
    if total and (2 * fresh >= total or 4 * alike >= 3 * total):
        raise _random(source, f"about {round(max(alike, fresh))} of {total} matrices")


def roles_of(weights: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """Return role -> names of its matrices in all layers, of the matrices that `check_trained`
    counts."""
    roles: dict[str, list[str]] = {}
    for name, shape in _shapes(weights).items():
        if len(shape) == 2 and min(shape) >= noise.SMALLEST_RANK and not _of_another_tower(name):
            roles.setdefault(re.sub(r"\.\d+\.", ".*.", name), []).append(name)
    return roles


def _shapes(weights: Mapping[str, torch.Tensor]) -> Mapping[str, Sequence[int]]:
    return (
        weights.shapes if isinstance(weights, Stored) else {n: w.shape for n, w in weights.items()}
    )


def _random(source: str, which: str) -> HealscopeError:
    return HealscopeError(
        f"{source}: its weights are random. The singular values of {which} follow the law of "
        "independent entries, as an initialiser draws them. Load the trained weights into it and "
        "save it again; if it is meant to be untrained, set models.*.check_random: false"
    )


def check_folder(folder: str | Path) -> None:
    """Do `check_trained` for a Hugging Face folder, tensor by tensor."""
    stored = Stored(folder)
    check_trained(stored, initial_std(provenance.read_json(stored.config)), str(folder))


@torch.no_grad()
def _logits(model, ids: list[int]) -> list[float]:
    """Return the logits after the last of `ids`, at up to LOGITS_KEPT tokens spread over the
    vocabulary."""
    training = model.training
    model.eval()
    row = torch.tensor([ids], device=model.device)
    last = model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -1].float()
    model.train(training)
    return last[:: math.ceil(len(last) / LOGITS_KEPT)].tolist()


def record_logits(folder: str | Path, model) -> None:
    """Write the model's logits for a prompt of ids that are spread over its vocabulary: this needs
    neither tokenizer nor task, and many embeddings and positions take part."""
    size = model.get_input_embeddings().weight.shape[0]
    ids = [i * size // PROMPT_TOKENS for i in range(PROMPT_TOKENS)]
    content = {
        "precision": str(model.dtype).removeprefix("torch."),
        "ids": ids,
        "logits": [float(f"{x:.7g}") for x in _logits(model, ids)],
    }
    provenance.write_json(Path(folder) / LOGITS, content)


def check_logits(folder: str | Path, model) -> float | None:
    """Return how far the model's logits are from those recorded in its folder.

    The difference is |now - then| / |then - mean(then)|, Euclidean norms. None where nothing was
    recorded, as in folders of other programs. Raises HealscopeError beyond LIMITS.
    """
    if (content := _recorded(folder)) is None:
        return None
    then, now = np.array(content["logits"]), np.array(_logits(model, content["ids"]))
    precisions = content["precision"], str(model.dtype).removeprefix("torch.")
    limit = max(LIMITS.get(p, LIMITS["float32"]) for p in precisions)
    return _refuse_other_logits(
        folder, then, now, limit, "was config.json changed, or the version of transformers?"
    )


def check_answers(
    folder: str | Path, logprobs: Callable[[list[int]], list[float]], precision: str
) -> float | None:
    """Do `check_logits` for an engine that computes in `precision` and returns log-probabilities.

    `logprobs`: token ids -> log-probability of every next token. These are logits up to a
    constant, so both are compared after subtracting their means. None where nothing was recorded.
    """
    if (content := _recorded(folder)) is None:
        return None
    then, now = np.array(content["logits"]), np.array(logprobs(content["ids"]))
    now = now[:: math.ceil(len(now) / LOGITS_KEPT)]
    limit = max(LIMITS.get(p, 0) for p in (content["precision"], precision, "float32"))
    return _refuse_other_logits(
        folder, then - then.mean(), now - now.mean(), limit, "does the engine know this model?"
    )


def _recorded(folder: str | Path) -> dict | None:
    """Return the content of a folder's file of logits; None, and a line about it, without one."""
    file = Path(folder) / LOGITS
    if not file.is_file():
        print(f"healscope: {folder} holds no recorded logits to check", file=sys.stderr)
        return None
    return provenance.read_json(file)


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
