"""Signals along SFT that need no OOD labels, and OOD losses by the steps of an answer.

The signals answer whether a practitioner could have seen the OOD peak (arXiv 2509.12235, section
3.2: "cannot be captured by the loss"). KL from the base on the new task is the predictor of
forgetting in arXiv 2509.04259. Shape suffixes: B rows, T response tokens, V vocabulary.
"""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from healscope import artifacts
from healscope.config import Evaluation, Study
from healscope.edit_names import leading
from healscope.measuring import Cost, Inputs
from healscope.schema import RUN_SEED, TRACK, Column, Schema, count, nats
from healscope.tasks import Task, build
from healscope.tasks.problem import Side
from healscope.tasks.tables import rules_differ, sft_examples

OF_OWN_SFT = True
TABLES = {"problems": artifacts.PROBLEMS, "pool": artifacts.SFT_POOL}
_ALONG = "along reference answers to held-out ID problems"
COLUMNS = (
    nats("id_train_loss_nats", "loss on SFT examples"),
    nats("id_test_loss_nats", "loss on held-out ID problems"),
    nats("id_entropy_nats", f"entropy of the next token {_ALONG}"),
    nats("id_kl_from_base_nats", "KL(base || now) along the base model's answers to ID problems"),
    nats("neutral_kl_from_base_nats", "the same, along its answers to prompts outside the task"),
    Column(
        "weight_drift", "float", "|W - W_base| / |W_base| over all matrices, Frobenius norms", low=0
    ),
    Column(
        "rotation_degrees",
        "float",
        "mean principal angle between leading singular subspaces of base and now",
        "degrees",
        low=0,
        high=90,
    ),
)

SCHEMA = Schema(
    "signals-probe",
    artifacts.probe("signals"),
    "One SFT checkpoint: what could be watched without OOD labels, and losses by step of the "
    "answer.",
    (
        count("step", "SFT step of the checkpoint", "steps"),
        *COLUMNS,
        *(
            nats(
                f"{rule}_{part}_step_loss_nats",
                f"loss of the {part} step of the reference answer, {rule.upper()}; missing "
                "where answers have none",
                nullable=True,
            )
            for rule in get_args(Side)
            for part in ("number", "formula")
        ),
        TRACK,
        RUN_SEED,
    ),
    ("step",),
)


def reads(study: Study) -> list[str]:
    """Return the base, and all checkpoints of the main arm of SFT."""
    return ["base", *study.sft_checkpoints()]


def settings(study: Study, track: str) -> dict:
    """Return values of several sections; rewards of the task are of no use here."""
    task = study.tasks[study.task_of(track)]
    return {
        "signals": study.signals.model_dump(mode="json"),
        "examples": study.sft.model_dump(mode="json", include={"deals", "examples"}),
        "task": task.model_dump(mode="json", exclude={"rewards"}),
        "matrices": study.spectra.matrices,
        "max_new_tokens": study.evaluation.max_new_tokens,
    }


def cost(study: Study) -> Cost:
    """Eight texts to a problem: four losses, two answers of the base, each read twice."""
    steps = len(study.sft.checkpoints)
    return Cost(2 * steps + 1, steps * 8 * study.signals.problems, steps)


def measure(inputs: Inputs, settings: dict, seed: int, label: str) -> pd.DataFrame:
    """Return one row for each SFT checkpoint."""
    task = build("train", settings["task"])
    examples = sft_examples(inputs.tables["pool"], **settings["examples"], seed=seed)
    problems, manifests = inputs.tables["problems"], inputs.checkpoints
    return along_sft(task, manifests, examples, problems, settings, seed, label)


def along_sft(
    task: Task,
    manifests: dict[str, str],
    examples: pd.DataFrame,
    problems: pd.DataFrame,
    settings: dict,
    seed: int,
    label: str,
) -> pd.DataFrame:
    """Measure checkpoints of SFT, and compare them with the base, the first of `manifests`.

    `examples` are the SFT rows of this seed, `problems` all of the task's.
    """
    from healscope.evaluation import losses
    from healscope.evaluation.attempts import greedy_answers
    from healscope.models import checkpoints
    from healscope.models.variants import from_checkpoint, load_each
    from healscope.progress import track
    from healscope.spectra.factors import load

    limit, roles = settings["signals"]["problems"], settings["matrices"]
    (_, base), *stored = manifests.items()
    steps = {artifacts.stage_and_step(name)[1]: manifest for name, manifest in stored}
    model, tokenizer = checkpoints.load_model(base)
    held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
    rng = np.random.default_rng([seed, 4])
    train, test, ood = (
        _pairs(frame, limit, rng)
        for frame in (examples, *(held_out[held_out["rule"] == rule] for rule in ("id", "ood")))
    )
    answering = Evaluation(max_new_tokens=settings["max_new_tokens"])
    stepwise = {"number", "formula"} <= set(task.answer_steps)

    def continued(prompts: list[str]) -> list[tuple[str, str]]:
        """Prompts with the base model's own greedy answers: where it would have gone."""
        answers = greedy_answers(model, tokenizer, prompts, answering)
        return [(p, a) for p, a in zip(prompts, answers, strict=True) if a]

    own = {
        "id": continued([p for p, _ in test]),
        "neutral": continued(task.neutral_prompts(limit, seed)),
    }
    # the base's distributions are kept in main memory, rather than the base beside the model
    before = {kind: losses.distributions(model, tokenizer, pairs) for kind, pairs in own.items()}
    # every checkpoint is verified where its model is loaded: its folder is enough here
    start = load(Path(base).parent, roles, artifacts.FACTORS_CACHE)
    rows = []
    variants = [from_checkpoint(str(step), manifest) for step, manifest in steps.items()]
    for variant in track(load_each(model, variants, {}), label, len(variants)):
        step = int(variant.name)
        now = load(Path(steps[step]).parent, roles)  # at 7B, 70 GB each: not kept
        rows.append(
            {
                "step": step,
                "id_train_loss_nats": losses.cross_entropy(model, tokenizer, train),
                "id_test_loss_nats": losses.cross_entropy(model, tokenizer, test),
                "id_entropy_nats": losses.entropy(model, tokenizer, test),
                **{
                    f"{kind}_kl_from_base_nats": losses.kl(before[kind], model, tokenizer, pairs)
                    for kind, pairs in own.items()
                },
                "weight_drift": _drift(start, now),
                "rotation_degrees": _rotation(start, now, settings["signals"]["rotation_fraction"]),
                **{
                    f"{rule}_{part}_step_loss_nats": loss
                    for rule, pairs in (("id", test), ("ood", ood))
                    for part, loss in losses.by_step(
                        model, tokenizer, pairs if stepwise else []
                    ).items()
                },
            }
        )
    return pd.DataFrame(rows)


def _pairs(frame: pd.DataFrame, limit: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return (prompt, reference response) of at most `limit` rows."""
    picked = frame.iloc[np.sort(rng.choice(len(frame), min(limit, len(frame)), replace=False))]
    return list(zip(picked["prompt"], picked["response"], strict=True))


def _drift(start, now) -> float:
    """Return |W - W_base|_F / |W_base|_F over all matrices together."""
    moved = whole = 0.0
    for matrix in start:
        old = start.weight(matrix).double()
        moved += float((now.weight(matrix).double() - old).square().sum())
        whole += float(old.square().sum())
    return (moved / whole) ** 0.5


def _rotation(start, now, fraction: float) -> float:
    """Return the mean principal angle, in degrees, between leading singular subspaces of base and
    now. A subspace that is the whole space cannot turn and does not count."""
    from healscope.spectra.angles import principal_angles

    means = []
    for matrix, old in start.items():
        new, k = now[matrix], leading(fraction, len(old.s))
        for x, y in ((old.u, new.u), (old.v, new.v)):
            means += [float(a.mean()) for a in principal_angles(x, y, [k]).values()]
    return float(np.rad2deg(np.mean(means))) if means else 0.0
