"""What could be watched along SFT: signals that need no OOD labels, and the OOD loss by its steps.

The signals answer whether a practitioner could have seen the OOD peak (arXiv 2509.12235, section
3.2: "cannot be captured by the loss"). KL from the base on the new task is the predictor of
forgetting in arXiv 2509.04259. Shape suffixes: B rows, T response tokens, V vocabulary.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from healscope.config import Evaluation, Signals
from healscope.edit_names import leading
from healscope.engines.generate import response_logprobs
from healscope.evaluation.attempts import greedy_answers
from healscope.evaluation.losses import cross_entropy
from healscope.models import checkpoints, tokens
from healscope.models.variants import from_checkpoint, load_each
from healscope.progress import track
from healscope.spectra.angles import principal_angles
from healscope.spectra.factors import Decomposed, load
from healscope.tasks.tables import rules_differ

Pairs = list[tuple[str, str]]
BATCH = 64


def measure(
    base: str,
    steps: dict[int, str],
    examples: pd.DataFrame,
    problems: pd.DataFrame,
    neutral: list[str],
    settings: Signals,
    roles: list[str],
    cache: str,
    max_new_tokens: int,
    seed: int,
    label: str,
    answer_steps: tuple[str, ...] = ("number", "formula"),
) -> pd.DataFrame:
    """One row for each SFT checkpoint; columns as in `probes.schemas.SIGNALS`.

    `base` and `steps` (step -> manifest) name checkpoints; `examples` are the SFT rows of this
    seed, `problems` the task's problems, `neutral` prompts outside the task; `cache` is the folder
    of the base's factors; `answer_steps` those of the task.
    """
    model, tokenizer = checkpoints.load_model(base)
    held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
    rng = np.random.default_rng([seed, 4])
    train, test, ood = (
        _pairs(frame, settings.problems, rng)
        for frame in (examples, *(held_out[held_out["rule"] == rule] for rule in ("id", "ood")))
    )
    answering = Evaluation(max_new_tokens=max_new_tokens)
    stepwise = {"number", "formula"} <= set(answer_steps)

    def continued(prompts: list[str]) -> Pairs:
        """Prompts with the base model's own greedy answers: where it would have gone."""
        answers = greedy_answers(model, tokenizer, prompts, answering)
        return [(p, a) for p, a in zip(prompts, answers, strict=True) if a]

    own = {"id": continued([p for p, _ in test]), "neutral": continued(neutral)}
    # what the base says is kept, in main memory, rather than the base beside the model
    said = {kind: _distributions(model, tokenizer, pairs) for kind, pairs in own.items()}
    # every checkpoint is verified where its model is loaded: its folder is enough here
    start = load(Path(base).parent, roles, cache)
    rows = []
    variants = [from_checkpoint(str(step), manifest) for step, manifest in steps.items()]
    for variant in track(load_each(model, variants, {}), label, len(variants)):  # all whole
        now = load(Path(steps[int(variant.name)]).parent, roles)  # at 7B, 70 GB each: not kept
        rows.append(
            {
                "step": int(variant.name),
                "id_train_loss_nats": cross_entropy(model, tokenizer, train),
                "id_test_loss_nats": cross_entropy(model, tokenizer, test),
                "id_entropy_nats": _entropy(model, tokenizer, test),
                **{
                    f"{kind}_kl_from_base_nats": _kl(said[kind], model, tokenizer, pairs)
                    for kind, pairs in own.items()
                },
                "weight_drift": _drift(start, now),
                "rotation_degrees": _rotation(start, now, settings.rotation_fraction),
                **{
                    f"{rule}_{k}": v
                    for rule, pairs in (("id", test), ("ood", ood))
                    for k, v in step_losses(model, tokenizer, pairs if stepwise else []).items()
                },
            }
        )
    return pd.DataFrame(rows)


def _pairs(frame: pd.DataFrame, limit: int, rng: np.random.Generator) -> Pairs:
    """(prompt, reference response) of at most `limit` rows."""
    picked = frame.iloc[np.sort(rng.choice(len(frame), min(limit, len(frame)), replace=False))]
    return list(zip(picked["prompt"], picked["response"], strict=True))


def _batches(tokenizer, pairs: Pairs, device) -> Iterator[tuple]:
    for i in range(0, len(pairs), BATCH):
        yield tokens.encode_pairs(tokenizer, pairs[i : i + BATCH], device)


@torch.no_grad()
def _entropy(model, tokenizer, pairs: Pairs) -> float:
    """Mean entropy of the next-token distribution along reference responses, in nats a token."""
    total, count = 0.0, 0
    for ids, mask, width, real_BT in _batches(tokenizer, pairs, model.device):
        _, logps_BTV = response_logprobs(model, ids, mask, width)
        entropy_BT = -(logps_BTV.exp() * logps_BTV).sum(-1)
        total += float((entropy_BT * real_BT).sum())
        count += int(real_BT.sum())
    return total / count


@torch.no_grad()
def _distributions(model, tokenizer, pairs: Pairs) -> list[torch.Tensor]:
    """The full log-distributions along the responses, batch by batch, on the CPU."""
    batches = _batches(tokenizer, pairs, model.device)
    return [response_logprobs(model, ids, mask, width)[1].cpu() for ids, mask, width, _ in batches]


@torch.no_grad()
def _kl(base: list[torch.Tensor], model, tokenizer, pairs: Pairs) -> float:
    """Mean KL(base || model) of next-token distributions along the base's answers, nats a token.

    `base`: its `_distributions`.
    """
    total, count = 0.0, 0
    batches = _batches(tokenizer, pairs, model.device)
    for before_BTV, (ids, mask, width, real_BT) in zip(base, batches, strict=True):
        _, after_BTV = response_logprobs(model, ids, mask, width)
        before_BTV = before_BTV.to(after_BTV.device)
        kl_BT = (before_BTV.exp() * (before_BTV - after_BTV)).sum(-1)
        total += float((kl_BT * real_BT).sum())
        count += int(real_BT.sum())
    return total / max(count, 1)


def _drift(start: Decomposed, now: Decomposed) -> float:
    """|W - W_base|_F / |W_base|_F over all matrices together."""
    moved = whole = 0.0
    for matrix in start:
        old = start.weight(matrix).double()
        moved += float((now.weight(matrix).double() - old).square().sum())
        whole += float(old.square().sum())
    return (moved / whole) ** 0.5


def _rotation(start: Decomposed, now: Decomposed, fraction: float) -> float:
    """Mean principal angle, in degrees, between leading singular subspaces of base and now; a
    subspace that is the whole space cannot turn and does not count."""
    means = []
    for matrix, old in start.items():
        new, k = now[matrix], leading(fraction, len(old.s))
        for x, y in ((old.u, new.u), (old.v, new.v)):
            means += [float(a.mean()) for a in principal_angles(x, y, [k]).values()]
    return float(np.rad2deg(np.mean(means))) if means else 0.0


@torch.no_grad()
def step_losses(model, tokenizer, pairs: Pairs) -> dict[str, float]:
    """Cross-entropy, in nats a token, of the number step and of the formula step of an answer.

    The steps are the stretches of the reference response from the word "number" to the word
    "formula", and from there to its end (arXiv 2509.12235, appendix D.1). NaN without any.
    """
    sums = {"number_step": [0.0, 0], "formula_step": [0.0, 0]}
    for i in range(0, len(pairs), BATCH):
        chosen = pairs[i : i + BATCH]
        ids, mask, width, _ = tokens.encode_pairs(tokenizer, chosen, model.device)
        logps_BT, _ = response_logprobs(model, ids, mask, width)
        for logps_T, (_, response) in zip(logps_BT.cpu(), chosen, strict=True):
            offsets = tokenizer(
                response, add_special_tokens=False, return_offsets_mapping=True
            ).offset_mapping
            number, formula = response.find("number"), response.find("formula")
            for t, (begin, _) in enumerate(offsets):
                if 0 <= formula <= begin:
                    step = "formula_step"
                elif 0 <= number <= begin:
                    step = "number_step"
                else:
                    continue
                sums[step][0] -= float(logps_T[t])
                sums[step][1] += 1
    return {f"{k}_loss_nats": total / n if n else float("nan") for k, (total, n) in sums.items()}
