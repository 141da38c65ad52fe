"""Protocols: which problems are posed, how answers are decoded, and what follows a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from healscope.errors import HealscopeError
from healscope.sections import Natural, OpenFraction, Positive, Section, distinct
from healscope.tasks.problem import SIDES, Said
from healscope.tasks.tables import SINCE, rules_differ

if TYPE_CHECKING:
    import pandas as pd

    from healscope.tasks.task import Task

WALKS = "walks"
"""Problems that are walks of the model's own."""

ONCE = ("neighbours", "without_one", "contexts", WALKS)
"""Kinds of problems that are other ones than those of the study, and asked once."""
_POSED_STREAM = 6  # of random numbers; the other streams of tasks are in `tables`


class Protocol(Section):
    """Which problems are posed, how answers are decoded, and what happens after a wrong one."""

    problems: Literal["all", "drawn", "neighbours", "without_one", "walks", "contexts"] = Field(
        "all",
        description="all: every deal both rules solve, paired; drawn: as published; neighbours: "
        "docs/neighbours.md; without_one: held-out hands, whole and with a card less; contexts: "
        "held-out hands under a rule that is named, after texts that tell it; walks: of navigation "
        "with moved_by: own, held-out routes that the model walks itself",
    )
    hands: Positive = Field(234, description="hands of each rule, with `problems: drawn`")
    per_kind: Positive = Field(
        150,
        description="problems of each kind and distance, with `problems: neighbours`; pairs, with "
        "`without_one`; hands, with `contexts`; routes, with `walks`",
    )
    seed: Natural = Field(0, description="draws hands or neighbours, and samples")
    temperature: Annotated[float, Field(ge=0)] = Field(
        0.0, description="of first attempts, and of those after feedback; 0 is greedy"
    )
    top_p: OpenFraction = Field(1.0, description="nucleus, if temperature > 0")
    samples: Natural = Field(0, description="additional sampled responses, for pass@k")
    sample_temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="their temperature")
    attempts: Positive = Field(1, description="attempts in one conversation, the first included")
    feedback: Annotated[list[Said], AfterValidator(distinct)] = Field(
        [],
        description='what is said in between: none, outcome ("wrong"), full (what is wrong), leak, '
        "critique or another (docs/what-breaks.md)",
    )
    retried_orders: Positive = Field(
        1, description="card orders of a held-out deal that are also sampled and retried"
    )

    @model_validator(mode="after")
    def _retries_say_something(self):
        if (self.attempts > 1) != bool(self.feedback):
            raise ValueError(
                "attempts > 1 needs at least one level of feedback, and feedback needs attempts > 1"
            )
        return self

    @model_validator(mode="after")
    def _neighbours_are_asked_once(self):
        if self.problems in ONCE and (self.samples or self.attempts > 1):
            raise ValueError(
                f"{self.problems} are asked once: leave out samples, attempts and feedback, or ask "
                "for other problems"
            )
        return self

    def first_attempts(self) -> Protocol:
        """Return the same protocol without samples and retries."""
        return self.model_copy(update={"samples": 0, "attempts": 1, "feedback": []})


def posed(task: Task, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return the problems that a protocol poses, with two more columns, `draw` and `retried`.

    Kind "all" is every row of the problem table. Kind "drawn" draws `hands` instances of each rule
    with replacement, seen in training or not, and of each one problem, or all steps of an episode.
    Raises HealscopeError on kinds that only some tasks have.
    """
    if "data" in problems:
        problems = problems.assign(**{c: None for c in SINCE if c not in problems})
    if protocol.problems == "all":
        return all_problems(problems, protocol.retried_orders)
    if protocol.problems == "drawn":
        return drawn_problems(task, problems, protocol.hands, protocol.seed)
    needs = "navigation with moved_by: own" if protocol.problems == WALKS else "the card game"
    raise HealscopeError(
        f"task {task.name!r} has no problems of protocol kind '{protocol.problems}': only {needs} "
        "has; leave this protocol out, or the task"
    )


def all_problems(problems: pd.DataFrame, retried_orders: int = 1) -> pd.DataFrame:
    """Add columns `draw` and `retried` to the problem table.

    `draw` is the row's number. `retried` is True for problems that also get extra samples and
    attempts after feedback: the first `retried_orders` problems of each held-out instance (in the
    card game: orders of each deal) under both rules, where the rules differ. All steps of an
    episode are retried, unless retried_orders is 0. Raises ValueError if retried_orders < 0.
    """
    if retried_orders < 0:
        raise ValueError(f"retried_orders must be at least 0, not {retried_orders}")
    pairs = problems.drop_duplicates("pair_id")
    hand = pairs["instance_id"]
    if "cards" in pairs:  # of the card game an instance has several deals, each in several orders
        hand = hand + ":" + pairs["cards"].map(lambda cards: "-".join(sorted(cards)))
    nth_order = dict(zip(pairs["pair_id"], pairs.groupby(hand).cumcount(), strict=True))
    early = problems["pair_id"].map(nth_order) < retried_orders
    if "episode_id" in problems:
        early |= problems["episode_id"].notna() & (retried_orders > 0)
    return problems.assign(
        draw=range(len(problems)),
        retried=early & (problems["split"] == "held_out") & rules_differ(problems),
    )


def drawn_problems(task: Task, problems: pd.DataFrame, hands: int, seed: int) -> pd.DataFrame:
    """Draw `hands` instances of each rule evenly with replacement; all are `retried`.

    `draw` counts rows from 0 within each rule. A draw depends on `seed`, the rule and its number
    alone. Where an episode comes up again, its episode_id says so ("…#2"). Raises ValueError if
    hands < 0.
    """
    import numpy as np
    import pandas as pd

    if hands < 0:
        raise ValueError(f"hands must be at least 0, not {hands}")
    parts = []
    for number, rule in enumerate(SIDES):
        of_rule = problems[problems["rule"] == rule]
        groups = [rows for _, rows in of_rule.groupby("instance_id", sort=True)]
        times: dict[str, int] = {}
        picked = []
        for i in range(hands if groups else 0):
            rng = np.random.default_rng([seed, _POSED_STREAM, number, i])
            rows = groups[int(rng.integers(len(groups)))]
            if not task.episodes:
                rows = rows.iloc[[int(rng.integers(len(rows)))]]
            instance = rows["instance_id"].iloc[0]
            times[instance] = again = times.get(instance, 0) + 1
            if task.episodes and again > 1:
                rows = rows.assign(episode_id=rows["episode_id"] + f"#{again}")
            picked.append(rows)
        if picked:
            drawn = pd.concat(picked, ignore_index=True)
            parts.append(drawn.assign(draw=range(len(drawn))))
    found = pd.concat(parts, ignore_index=True) if parts else problems.iloc[:0].assign(draw=0)
    return found.assign(retried=True)
