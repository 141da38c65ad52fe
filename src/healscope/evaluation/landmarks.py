"""Landmarks: checkpoints with a role, chosen from evaluations or pinned in the config."""

import pandas as pd

from healscope import artifacts, provenance


def choose(
    evaluations: pd.DataFrame, pinned_maxood: str | int, end_step: int, rl: str | None
) -> dict[str, dict]:
    """landmark -> {checkpoint, why} for base, maxood, end and, where it is not None, rl.

    `evaluations`: first attempts of all SFT checkpoints of one seed on the training task. MaxOOD is
    the step with the best accuracy on held-out OOD problems, the earliest of equals. `by_half`
    names, for each half of the deals, the checkpoint that the other half picks: there its accuracy
    is not flattered by the choice.
    """
    from healscope import stats  # here: it imports scipy, and many jobs only look a landmark up

    ood = evaluations[(evaluations["rule"] == "ood") & (evaluations["split"] == "held_out")]
    accuracy = ood.groupby("step")["correct"].mean().sort_index()
    halves = ood.groupby(["half", "step"])["correct"].mean()
    steps = list(accuracy.index)
    if pinned_maxood == "auto":
        best, why = int(accuracy.idxmax()), "best held-out OOD accuracy"
        picked = stats.from_other_half(lambda step, half: halves[half, step], steps)
    else:
        best, why = int(pinned_maxood), "pinned"
        picked = dict.fromkeys("ab", best)
    found = {
        "base": {"checkpoint": "base", "why": "the start of SFT"},
        "maxood": {
            "checkpoint": artifacts.sft(best),
            "why": why,
            "step": best,
            "by_half": {half: artifacts.sft(int(step)) for half, step in picked.items()},
            "ood_accuracy_by_step": {str(k): round(v, 6) for k, v in accuracy.items()},
        },
        "end": {
            "checkpoint": artifacts.sft(end_step),
            "why": "landmarks.end of the config",
            "step": end_step,
        },
    }
    if rl is not None:
        found["rl"] = {"checkpoint": rl, "why": "RL from end, or set in the config"}
    return found


def manifest(landmarks_file: str, model: str, seed: str | int, point: str) -> str:
    """Path of the checkpoint manifest behind a landmark, or of the checkpoint of that name."""
    marks = provenance.read_json(landmarks_file)["landmarks"]
    name = marks[point]["checkpoint"] if point in marks else point
    return artifacts.path(artifacts.CHECKPOINT, model=model, seed=seed, checkpoint=name)
