"""How many entries of the weights RL changes, beside SFT and noise that go as far.

arXiv 2505.11711 finds that RL leaves 70 to 95% of the entries of bf16 weights as they were, and SFT
6 to 15%. How many entries a rounded format shows as changed depends on how far an update goes, so
SFT from the same start is also scaled to the length of RL's update, and so is noise.
"""

from collections.abc import Iterator

import pandas as pd

from healscope import artifacts
from healscope.config import Study
from healscope.measuring import Cost, Inputs
from healscope.schema import RUN_SEED, TRACK, Schema, choice, count, number, share
from healscope.spectra.schemas import LAYER, ROLE

CONTROL = "sft_matched"
"""Recipe that goes on with SFT in as many steps, on as many rows and at the rate of RL."""

ARMS = {
    "rl": "what RL changes",
    "sft": f"what SFT changes from there in as many steps and at the same rate ({CONTROL})",
    "sft scaled": "that update, as long as RL's over all matrices together",
    "noise": "a random update, as long as RL's in every matrix",
}
STORED = ("float32", "bf16", "1e-5")

TABLES: dict[str, str] = {}

SCHEMA = Schema(
    "sparsity-probe",
    artifacts.probe("sparsity"),
    "One weight matrix and one update of it: how many entries stay as they are.",
    (
        choice("arm", ARMS, "; ".join(f"{name}: {about}" for name, about in ARMS.items())),
        choice("stored", STORED, "format in which entries are compared; 1e-5: in float32, within "
               "so much"),
        LAYER,
        ROLE,
        count("entries", "of the matrix", "entries"),
        share("unchanged", "of the entries"),
        number("norm", "Frobenius norm of the update"),
        share("rank", "numerical rank of the update, of the most it could be"),
        TRACK,
        RUN_SEED,
    ),
    ("arm", "stored", "layer", "role"),
)  # fmt: skip


def control(study: Study) -> str | None:
    """Return the branch of SFT that RL is compared with, if the study has it."""
    name = artifacts.branch(CONTROL, study.end_step)
    return name if name in study.branches else None


def reads(study: Study) -> list[str]:
    """Return the start, and what RL and SFT make of it; nothing where the study does not ask."""
    if "sparsity" not in study.claims.systems or study.rl_landmark is None:
        return []
    other = control(study)
    return ["end", "rl", *([other] if other else [])]


def settings(study: Study, track: str) -> dict:  # noqa: ARG001
    return {"matrices": study.spectra.matrices}


def cost(study: Study) -> Cost:
    return Cost(len(reads(study)), 0, len(reads(study)))


def measure(inputs: Inputs, settings: dict, seed: int, label: str) -> pd.DataFrame:  # noqa: ARG001
    """Return a row for each arm, way to store, and matrix."""
    from healscope.models import checkpoints
    from healscope.spectra import sources

    first, *others = inputs.checkpoints.values()
    whole = {
        arm: manifest
        for arm, manifest in zip(("rl", "sft"), others, strict=False)
        if not checkpoints.failure(manifest)
    }
    if "rl" not in whole:  # the study goes on without a run that failed
        return SCHEMA.empty().drop(columns=["track", "seed"])
    start = sources.weights(first)
    updates = {arm: sources.weights(manifest) for arm, manifest in whole.items()}
    names = sources.matrices_of(start, settings["matrices"])
    old = {m: sources.read(start, m).double() for m in names}
    deltas = {
        arm: {m: sources.read(weights, m).double() - old[m] for m in names}
        for arm, weights in updates.items()
    }
    rows = []
    for arm, of_matrices in arms(deltas, seed):
        for m in names:
            delta = of_matrices[m]
            about = {"layer": m.layer, "role": m.role, "entries": old[m].numel()}
            about |= {"norm": float(delta.norm()), "rank": rank_share(delta)}
            for stored, unchanged in unchanged_shares(old[m], delta).items():
                rows.append({"arm": arm, "stored": stored, **about, "unchanged": unchanged})
    return pd.DataFrame(rows)


def arms(deltas: dict[str, dict], seed: int) -> Iterator[tuple[str, dict]]:
    """Yield each arm with its updates: those given ("rl", and "sft" if it is there), SFT's scaled
    to the length of RL's, and noise as long as RL's in every matrix."""
    import torch

    from healscope.draws import seeded

    yield from deltas.items()
    if "sft" in deltas:
        longer = length(deltas["rl"]) / length(deltas["sft"])
        yield "sft scaled", {m: longer * delta for m, delta in deltas["sft"].items()}
    noise = {}
    for m, delta in deltas["rl"].items():
        stream = seeded(seed, "sparsity", str(m))
        drawn = torch.randn(delta.shape, generator=stream, dtype=delta.dtype)
        noise[m] = drawn * (delta.norm() / drawn.norm())
    yield "noise", noise


def length(of_matrices: dict) -> float:
    """Return the Frobenius norm over all matrices together."""
    return sum(float(delta.square().sum()) for delta in of_matrices.values()) ** 0.5


def unchanged_shares(old, delta) -> dict[str, float]:
    """Return way to store -> share of the entries of `old` that stay as they are by an update."""
    import torch

    new = (old + delta).float()
    same = {
        "float32": old.float() == new,
        "bf16": old.to(torch.bfloat16) == new.to(torch.bfloat16),
        "1e-5": (old.float() - new).abs() <= 1e-5,
    }
    return {name: float(mask.double().mean()) for name, mask in same.items()}


def rank_share(delta) -> float:
    """Return the numerical rank of an update in float32, of the most that it could be."""
    import torch

    if not delta.any():
        return 0.0
    return int(torch.linalg.matrix_rank(delta.float())) / min(delta.shape)
