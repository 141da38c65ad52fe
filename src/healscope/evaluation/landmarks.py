"""Landmarks: checkpoints with a role, chosen from evaluations or fixed in the config."""

import pandas as pd

from healscope import artifacts, provenance, stats


def choose(
    evaluations: pd.DataFrame, pinned_maxood: str | int, end_step: int, rl: str | None
) -> dict[str, dict]:
    """Choose the landmarks of one seed: name -> {checkpoint, why} of base, maxood, end and rl.

    `evaluations`: first attempts of all SFT checkpoints of one seed on the training task. MaxOOD is
    the step with the best accuracy on held-out OOD problems, the earliest of equals: the checkpoint
    that is decomposed and edited. `ood_by_half` has the accuracy of every step on each half of the
    instances, from which `picked` finds where MaxOOD is reported; None where the config names it.
    No landmark `rl` where `rl` is None.
    """
    ood = evaluations[(evaluations["rule"] == "ood") & (evaluations["split"] == "held_out")]
    accuracy = ood.groupby("step")["correct"].mean().sort_index()
    halves = ood.groupby(["half", "step"])["correct"].mean()
    if pinned_maxood == "auto":
        best, why = int(accuracy.idxmax()), "best held-out OOD accuracy"
        by_half = {half: _rounded(halves[half]) for half in "ab"}
    else:
        best, why, by_half = int(pinned_maxood), "pinned", None
    found = {
        "base": {"checkpoint": "base", "why": "the start of SFT"},
        "maxood": {
            "checkpoint": artifacts.sft(best),
            "why": why,
            "step": best,
            "ood_by_half": by_half,
            "ood_accuracy_by_step": _rounded(accuracy),
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


def _rounded(accuracy: pd.Series) -> dict[str, float]:
    """SFT step -> accuracy, as JSON has it."""
    return {str(step): round(float(v), 6) for step, v in accuracy.sort_index().items()}


def picked(marks: dict[int, dict]) -> dict[int, dict[str, str]]:
    """Return the checkpoint at which MaxOOD is reported: seed -> half of the instances ->
    checkpoint.

    `marks` are the landmarks of all seeds of one model. Each seed and half is reported at the step
    that is best for the other seeds on the other half (`stats.picked_elsewhere`), so neither lucky
    instances nor lucky training flatter it; with one seed, its own other half picks.
    """
    own = {seed: found["maxood"] for seed, found in marks.items()}
    if any(
        mark.get("ood_by_half") is None for mark in own.values()
    ):  # by the config, the same for all
        return {seed: dict.fromkeys("ab", mark["checkpoint"]) for seed, mark in own.items()}
    steps = sorted({int(step) for mark in own.values() for step in mark["ood_by_half"]["a"]})

    def score(step: int, seeds: list[int], half: str) -> float:
        shares = [own[seed]["ood_by_half"][half].get(str(step)) for seed in seeds]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else -1.0

    found = stats.picked_elsewhere(score, steps, own)
    return {s: {h: artifacts.sft(int(n)) for h, n in halves.items()} for s, halves in found.items()}


def manifest(landmarks_file: str, model: str, seed: str | int, point: str) -> str:
    """Return the path of the manifest of a landmark, or of the checkpoint of that name."""
    marks = provenance.read_json(landmarks_file)["landmarks"]
    name = marks[point]["checkpoint"] if point in marks else point
    return artifacts.path(artifacts.CHECKPOINT, track=model, seed=seed, checkpoint=name)
