"""Landmarks: checkpoints with a role, chosen from evaluations or pinned in the config."""

import pandas as pd

from healscope import artifacts, provenance


def choose(
    evaluations: pd.DataFrame, pinned_maxood: str | int, end_step: int, rl: str
) -> dict[str, dict]:
    """landmark -> {checkpoint, why} for base, maxood, end and rl.

    `evaluations`: rows of all SFT checkpoints of one seed on the training task. MaxOOD is the step
    with the best greedy accuracy on held-out OOD problems, the earliest of equals. It is picked on
    the problems it is reported on, so its own accuracy is flattered a little.
    """
    ood = evaluations[(evaluations["rule"] == "ood") & (evaluations["split"] == "held_out")]
    accuracy = ood.groupby("step")["correct"].mean().sort_index()
    best = int(accuracy.idxmax()) if pinned_maxood == "auto" else int(pinned_maxood)
    return {
        "base": {"checkpoint": "base", "why": "the start of SFT"},
        "maxood": {
            "checkpoint": artifacts.sft(best),
            "why": "best held-out OOD accuracy" if pinned_maxood == "auto" else "pinned",
            "step": best,
            "ood_accuracy_by_step": {str(k): round(v, 6) for k, v in accuracy.items()},
        },
        "end": {
            "checkpoint": artifacts.sft(end_step),
            "why": "landmarks.end of the config",
            "step": end_step,
        },
        "rl": {"checkpoint": rl, "why": "RL from end, or set in the config"},
    }


def manifest(landmarks_file: str, model: str, seed: str | int, landmark: str) -> str:
    """Path of the checkpoint manifest behind a landmark."""
    name = provenance.read_json(landmarks_file)["landmarks"][landmark]["checkpoint"]
    return artifacts.path(artifacts.CHECKPOINT, model=model, seed=seed, checkpoint=name)
