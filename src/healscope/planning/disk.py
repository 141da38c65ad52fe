"""Disk space: what a study leaves, and the most that it needs at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

from healscope import artifacts
from healscope.config import LANDMARKS, Study
from healscope.planning import constants as c
from healscope.planning.asked import Asked
from healscope.planning.sizes import Size


@dataclass(frozen=True)
class Disk:
    """Bytes of one track, all seeds: `kept` at the end by stage; `full` before any SFT checkpoint
    is deleted; `writing`, what one job of SFT or RL writes."""

    kept: dict[str, float]
    full: float
    writing: float


def disk(asked: Asked, size: Size) -> Disk:
    """Return the disk space of a track. A training state holds weights and both moments, twice
    while a new one is written; beside it lies what RL made and nothing has evaluated yet."""
    study = asked.study
    arms, seeds = 1 + len(study.sft.arms), len(study.seeds)
    one = 0 if study.own_checkpoints else size.weight_bytes  # or links
    every_sft, branches = len(study.sft.checkpoints) * arms, len(study.branches)
    sft, rl = every_sft, branches
    if study.checkpoints.keep == "landmarks":
        stays = staying(study)
        rl = len(stays & set(study.branches))
        sft = min(sft, len(stays) - rl + 1)  # and MaxOOD
    edited = {p for s in study.edits.stages.values() for p in (s.target, s.parent)}
    answers = sum(map(asked.answers, study.evaluation.protocols)) * (every_sft + branches)
    edits = len(study.edits.names()) * len(study.edits.stages) * asked.retried
    kept = {
        "base": seeds * one,
        "sft": seeds * sft * one,
        "rl": seeds * rl * one,
        "spectra": seeds * len({*LANDMARKS, *edited}) * size.factor_bytes(study.spectra),
        "evaluation": seeds * answers * c.ANSWER.value,
        "edits": seeds * edits * c.ANSWER.value,
    }
    full = sum(kept.values()) + seeds * (every_sft - sft) * one
    state = 2 * size.parameters * (c.MASTER.value + c.MOMENTS.value)
    return Disk(kept, full, 0 if study.own_checkpoints else state + one)


def peak(disks: Iterable[Disk], at_once: int) -> float:
    """Return the most bytes at any time, with `at_once` jobs of SFT or RL side by side.

    With `checkpoints.keep: landmarks` all SFT checkpoints of all seeds may be there together, since
    RL from each may come last; of RL only landmarks and what jobs are writing, since evaluation and
    deletion go before further RL.
    """
    disks = list(disks)
    return sum(d.full for d in disks) + at_once * max(d.writing for d in disks)


def staying(study: Study) -> set[str]:
    """Return the SFT checkpoints and branches whose weights stay, whatever MaxOOD turns out to
    be."""
    edited = {p for s in study.edits.stages.values() for p in (s.target, s.parent)}
    named = {artifacts.sft(study.end_step), study.rl_landmark} | edited
    return named & {*map(artifacts.sft, study.sft.checkpoints), *study.branches}
