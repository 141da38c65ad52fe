"""What claims are measured on: answers at checkpoints, fairly picked, and changes between them."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.markdown import points
from healscope.stats import Choice, Estimate, Sources
from healscope.verdicts import YES, Verdict, margin, moves

FLOOR = 0.1
"""What a start has less of than this share cannot be seen to be lost, kept or timed."""


@dataclass(frozen=True)
class Data:
    """The answers, edits and training logs of one track, and the study's settings."""

    rows: pd.DataFrame  # held-out first attempts of SFT and of all branches, with stage and step
    train_rows: pd.DataFrame  # the same on instances that the seed was trained on
    faceless: pd.DataFrame  # as rows, on all held-out problems, also those without a face card
    drawn: list[pd.DataFrame]  # attempts under each protocol that draws hands, with protocol
    edits: pd.DataFrame  # held-out attempts of edited models, checkpoint = stage:edit
    signals: pd.DataFrame  # what could be watched along SFT
    logs: pd.DataFrame  # training logs of all branches, with recipe and start
    recipes: dict[str, dict]  # recipe -> its facts, of `config.RL.facts`
    landmarks: dict[int, dict]  # seed -> landmark -> {checkpoint, …}
    stages: dict[str, dict[str, str]]  # stage of edits -> its target and parent
    settings: Statistics
    contrast: tuple[int, int] | None = None  # two SFT steps, fixed in the config
    compare: tuple[tuple[str, str], ...] = ()  # branches, the first claimed to end above
    keepers: pd.DataFrame | None = None  # first attempts at keepers, of SFT and landmark rl

    @property
    def sft(self) -> pd.DataFrame:
        """The rows of SFT itself."""
        return self.rows[self.rows["stage"] == "sft"]

    @cached_property
    def fall(self) -> Estimate:
        """Change of OOD accuracy from its peak along SFT to the last step."""
        last = self.everywhere(artifacts.sft(self.steps[-1]))
        return self.change(self.at("ood", self.landmark("maxood")), self.at("ood", last))

    @cached_property
    def lost(self) -> Estimate:
        """Change of OOD accuracy from MaxOOD to End."""
        return self.change(*(self.at("ood", self.landmark(name)) for name in ("maxood", "end")))

    @cached_property
    def least(self) -> float:
        """What counts as no change, beside what was lost."""
        return margin(self.lost)

    @property
    def picked_by_itself(self) -> str:
        """A caveat where one run both picks a checkpoint and judges it; else empty."""
        if len(self.landmarks) > 1:
            return ""
        return (
            "; with one run the same training picks and judges, so luck in training still flatters "
            "what is picked"
        )

    @property
    def cards(self) -> bool:
        """Whether the task is the card game: its problems say how many face cards they have."""
        return bool(self.rows["n_faces"].notna().any())

    @property
    def steps(self) -> list[int]:
        """The SFT grid."""
        return sorted(int(s) for s in self.rows.loc[self.rows["stage"] == "sft", "step"].unique())

    @property
    def main(self) -> str:
        """Name of the main recipe."""
        return next(name for name, facts in self.recipes.items() if facts["main"])

    @property
    def branches(self) -> dict[int, str]:
        """SFT step where the main recipe starts -> checkpoint after it."""
        rl = self.rows[self.rows["recipe"] == self.main]
        return dict(sorted(zip(rl["step"], rl["checkpoint"], strict=True)))

    @property
    def rl_start(self) -> int:
        """SFT step where the branch behind landmark `rl` starts."""
        marks = next(iter(self.landmarks.values()))
        return artifacts.parse_branch(marks["rl"]["checkpoint"])[1]

    def at(self, rule: str, choice: Choice, rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return answers under one rule, at one checkpoint for each seed and half."""
        rows = self.rows if rows is None else rows
        chosen = {(s, half): name for s, halves in choice.items() for half, name in halves.items()}
        wanted = [chosen[key] for key in zip(rows["seed"], rows["half"], strict=True)]
        return rows[(rows["rule"] == rule) & (rows["checkpoint"] == wanted)]

    def everywhere(self, checkpoint: str) -> Choice:
        """Return the same checkpoint for all seeds and instances."""
        return {seed: dict.fromkeys("ab", checkpoint) for seed in self.landmarks}

    def by_seed(self, checkpoints: dict[int, str]) -> Choice:
        return {seed: dict.fromkeys("ab", name) for seed, name in checkpoints.items()}

    def landmark(self, name: str) -> Choice:
        """Return the checkpoint behind a landmark; MaxOOD as other seeds and instances pick it."""
        if name == "maxood":
            return landmarks.picked(self.landmarks)
        return self.by_seed({s: marks[name]["checkpoint"] for s, marks in self.landmarks.items()})

    def point(self, name: str) -> Choice:
        """Return what an edit starts from or goes back to: a landmark as all instances of the seed
        pick it, or the checkpoint of that name; the base is evaluated as the start of SFT."""
        name = artifacts.sft(0) if name == "base" else name
        return self.by_seed(
            {s: marks.get(name, {"checkpoint": name})["checkpoint"]
             for s, marks in self.landmarks.items()}
        )  # fmt: skip

    def fair_point(self, name: str) -> Choice:
        """Return `point`, but for MaxOOD as other seeds and instances pick it."""
        return self.landmark(name) if name == "maxood" else self.point(name)

    def ends(self, stage: str, rule: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Attempts at the target and the parent of a stage of edits."""
        return self._ends(stage, rule, self.point)

    def _ends(
        self, stage: str, rule: str, choose: Callable[[str], Choice]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        points = self.stages[stage]
        return tuple(self.at(rule, choose(points[end])) for end in ("target", "parent"))

    def flatters(self, stage: str) -> bool:
        """Whether the instances that judge edits of a stage have picked a checkpoint of theirs."""
        return "maxood" in self.stages[stage].values()

    def explains(self, stage: str, rule: str) -> bool:
        """Return whether target and parent of a stage differ clearly, so that its edits have
        something to explain; where the stage flatters its edits, also as fairly picked."""
        ways = [self.point, self.fair_point] if self.flatters(stage) else [self.point]
        changes = (self.change(*self._ends(stage, rule, way)) for way in ways)
        return all(moves(change) in YES for change in changes)

    def edited(self, stage: str, edit: str, rule: str) -> pd.DataFrame:
        """Return the attempts of an edited model; empty where the study does not make the edit."""
        named = self.edits["checkpoint"] == f"{stage}:{edit}"
        return self.edits[named & (self.edits["rule"] == rule)]

    def edit_names(self, stage: str) -> list[str]:
        """Return the edits of a stage, controls included."""
        found = self.edits["checkpoint"].unique()
        return [v.removeprefix(f"{stage}:") for v in found if v.startswith(f"{stage}:")]

    def peak_steps(self) -> list[int]:
        """Return where all instances of a seed together put MaxOOD, for each seed."""
        return [marks["maxood"]["step"] for marks in self.landmarks.values()]

    def change(self, before: pd.DataFrame, after: pd.DataFrame) -> Estimate:
        return stats.change(before, after, self.settings, seeds=self.landmarks)

    def pick(
        self, candidates: list, score: Callable[[pd.DataFrame, str], float], rows: pd.DataFrame
    ) -> Choice:
        """Return the candidate that is best by `score(rows, candidate)` on other seeds and
        instances."""
        return stats.picked_elsewhere(
            lambda candidate, seeds, half: score(stats.of_part(rows, seeds, half), candidate),
            candidates,
            self.landmarks,
        )

    def started(self, starts: Choice, after: bool) -> Choice:
        """Before or after RL from these starts, one for each seed and half of the instances."""
        return {
            seed: {h: self.branches[s] if after else artifacts.sft(s) for h, s in halves.items()}
            for seed, halves in starts.items()
        }


def names_of(choice: Choice) -> str:
    """Return checkpoints of a choice, each once, by step."""
    names = {name for halves in choice.values() for name in halves.values()}
    return " or ".join(sorted(names, key=lambda n: artifacts.stage_and_step(n)[1]))


def row(claim: str, statement: str, e: Estimate, verdict: Verdict, detail: str) -> dict:
    """Make one row of the claims table, before it is corrected for the number of claims."""
    if e.outliers:
        unlike = ", ".join(f"seed {s} ({points(e.by_seed[s], e.unit)})" for s in e.outliers)
        detail = f"{detail}; unlike the other seeds: {unlike}"
    if e.missing and e.by_seed:
        more = len(e.missing) > 1
        detail += (
            f"; nothing to compare in seed{'s' * more} {', '.join(e.missing)}, which "
            f"count{'' if more else 's'} against any verdict"
        )
    return {
        "claim": claim,
        "statement": statement,
        "verdict": str(verdict),
        "p": verdict.p,
        "weaker": verdict.weaker,
        "rule": verdict.rule,
        "margin": verdict.margin,
        "unit": e.unit,
        **effect_of(e),
        **{f"sd_{source}": value for source, value in _sources(e).items()},
        "detail": detail,
    }


def _sources(e: Estimate) -> dict[str, float]:
    return asdict(e.sources or Sources(*[float("nan")] * 4))


def effect_of(e: Estimate) -> dict:
    """Return an estimate as the columns of a table (`columns.effect`)."""
    return {
        "effect": e.value,
        "low": e.low,
        "high": e.high,
        "by_seed": list(e.by_seed.values()),
        "seeds": len(e.by_seed),
        "instances": e.instances,
        "detectable": e.detectable,
    }


def of_tracks(rows: pd.DataFrame, claims_of: Callable[..., list[dict]], *more) -> list[dict]:
    """Return the claims that `claims_of(rows of a track, *more)` makes of each track, with it."""
    return [
        {"track": track, **claim}
        for track, own in rows.groupby("track")
        for claim in claims_of(own, *more)
    ]


def rewards_alone(recipes: dict[str, dict], branches: Iterable[str]) -> dict[int, dict[str, str]]:
    """Return start -> branch -> reward, of branches that differ from the main recipe in nothing but
    the reward; that of the main recipe first. `recipes` are the facts of `config.RL.facts`."""
    found: dict[int, dict[str, str]] = {}
    named = [(branch, *artifacts.parse_branch(branch)) for branch in branches]
    for branch, recipe, start in sorted(named, key=lambda one: not recipes[one[1]]["main"]):
        facts = recipes[recipe]
        if facts["main"] or facts["reward_alone"]:
            found.setdefault(start, {})[branch] = facts["reward"]
    return found


def of_seeds(
    values: dict[str, float], statistics: Statistics, instances: int, unit: str
) -> Estimate:
    """Return the mean of one number a seed, with seeds as units; missing ones do not count.

    Such a number has no interval of its own, so that nothing is said of single seeds.
    """
    known = {seed: value for seed, value in values.items() if not np.isnan(value)}
    frame = pd.DataFrame({"seed": list(known), "instance_id": "all", "value": list(known.values())})
    # such a value is no answer, of which `seed_sd` is a share: seeds alone say how they differ
    by_seeds = statistics.model_copy(update={"seed_sd": None})
    e = stats.bootstrap(frame, "value", by_seeds, unit=unit)
    alone = {"low": float("nan"), "high": float("nan")} if len(known) < 2 else {}
    return replace(e, limits={}, instances=instances, **alone)


def never_there(verdict: Verdict, start: float) -> Verdict:
    """Return the verdict; undecided where the start has less than FLOOR of what is asked about."""
    return verdict.only_if(not start < FLOOR, verdict.p)
