"""Whether what other actions than the expert's lead to teaches a model to act.

Early Experience (arXiv 2510.08558; method notes, data and results, no trainer): before it imitates
the expert, a model learns what follows from other actions than the expert's. The simulator tries
them evenly, where the sources also let the model choose. A gain over plain SFT
may come from more data of any kind: the first control has the same prompts and the same answers,
shuffled, so that no answer is what its action leads to; the second reads more of the expert. All
arms take as many steps on as many trained tokens (`healscope.training.early`). Success is that of
whole walks that the model makes itself, on held-out routes.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.config.training import Early
from healscope.files import Files
from healscope.findings.columns import SEED, SFT_STEP, N, interval
from healscope.findings.contrasts import FLOOR, never_there, of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.markdown import at, grid
from healscope.schema import TRACK, change, choice, table
from healscope.tasks.navigation.own import OFF, ON
from healscope.tasks.posing import WALKS
from healscope.tasks.schemas import RULE
from healscope.verdicts import at_most, every, positive

PLAIN, MODEL, SHUFFLED, MORE, REFLECTION = "sft", *Early.labels
ARMS = (PLAIN, *Early.labels)

_BY = ["track", "arm", "kind", "step", "rule", "begun"]


def _protocols(files: Files) -> list[str]:
    protocols = files.study.evaluation.protocols.items()
    return [name for name, p in protocols if p.problems == WALKS]


def _tracks(files: Files) -> list[str]:
    """Return the tracks, followed or named in `rl.branches_of`, on a task that has walks."""
    named = [*files.followed, *files.beside]
    return [t for t in named if any(files.study.poses(files.study.task_of(t), p)
                                    for p in _protocols(files))]  # fmt: skip


def _inputs(files: Files) -> dict[str, list[str]]:
    checkpoints = [c for arm in ARMS for c in files.sft(arm)]
    places = {"protocol": _protocols(files), "checkpoint": checkpoints}
    return {"evaluations": files.each(artifacts.EVALUATION, _tracks(files), **places)}


def _lacking(files: Files) -> str:
    if not _protocols(files):
        return "a protocol, as evaluation.protocols.walks: {problems: walks}"
    if not _tracks(files):
        return (
            "a track on navigation whose walker goes where he is told: tasks.nav: {moved_by: own},"
            " in train_on, or as rl.branches_of: {MODEL.nav: {}}"
        )
    return ""


def read(evaluations: list[str]) -> pd.DataFrame:
    """Return the walks of all arms; column `begun` says where they begin."""
    rows = with_steps(first_attempts(evaluations, ["neighbour"]))
    return rows.rename(columns={"stage": "arm", "neighbour": "begun"})


def measure(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return the success of walks along each arm (kind "level"), and that of another arm minus that
    of arm sft on the same walks ("difference")."""
    rows = read(evaluations)
    parts = [summarise(rows.assign(kind="level"), _BY, statistics)]
    for place, own in rows.groupby(["track", "step", "rule", "begun"]):
        plain = own[own["arm"] == PLAIN]
        for arm, other in own[own["arm"] != PLAIN].groupby("arm"):
            named = dict(zip(("track", "step", "rule", "begun"), place, strict=True))
            gap = stats.paired(plain, other).assign(arm=arm, kind="difference", **named)
            parts.append(summarise(gap, _BY, statistics, "change"))
    return pd.concat(parts, ignore_index=True).rename(columns={"mean": "success"})


# Claims.


def judge(evaluations: list[str], statistics: Statistics) -> list[dict]:
    """Return the claims of each track."""
    return of_tracks(read(evaluations), claims_of, statistics)


def claims_of(rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims about the last step of SFT under the ID rule, of one track."""
    rows = rows[(rows["step"] == rows["step"].max()) & (rows["rule"] == "id")]
    found = []
    for begun, claim, where in (
        (ON, "early-experience-teaches", "walks"),
        (OFF, "early-experience-teaches-recovery", "walks that begin off the route"),
    ):
        own = rows[rows["begun"] == begun]
        over = [_minus(own, MODEL, other, statistics) for other in (PLAIN, SHUFFLED)]
        found.append(
            row(
                claim,
                f"SFT after learning what other actions than the expert's lead to succeeds in more "
                f"{where} than plain SFT, and than after the same words shuffled "
                "(arXiv 2510.08558)",
                over[0],
                never_there(every(*map(positive, over)), _most(own, MODEL, PLAIN, SHUFFLED)),
                _told(own) + f"; minus shuffled {100 * over[1].value:+.1f}",
            )
        )
    own = rows[rows["begun"] == ON]
    more, gain = (_minus(own, *pair, statistics) for pair in ((MORE, MODEL), (MODEL, PLAIN)))
    thought = _minus(own, REFLECTION, PLAIN, statistics)
    return [
        *found,
        row(
            "more-of-the-expert-does-no-more",
            "SFT on further routes of the expert succeeds in no more walks than SFT after a world "
            "model, which gains, at as many tokens (arXiv 2510.08558)",
            more,
            never_there(every(at_most(more), positive(gain)), _most(own, MORE, MODEL)),
            _told(own),
        ),
        row(
            "reflections-teach",
            "SFT on answers that first say what another action would have led to succeeds in more "
            "walks than plain SFT, whose answers have no such words",
            thought,
            never_there(positive(thought), _most(own, REFLECTION, PLAIN)),
            _told(own),
        ),
    ]


def _minus(rows: pd.DataFrame, arm: str, other: str, statistics: Statistics) -> stats.Estimate:
    """Return success of one arm minus that of another, on the same walks."""
    pair = (rows[rows["arm"] == name] for name in (other, arm))
    return stats.change(*pair, statistics)


def _most(rows: pd.DataFrame, *arms: str) -> float:
    return float(rows[rows["arm"].isin(arms)].groupby("arm")["correct"].mean().max())


def _told(rows: pd.DataFrame) -> str:
    means = rows.groupby("arm")["correct"].mean()
    said = ", ".join(f"{arm} {100 * means[arm]:.0f}%" for arm in ARMS if arm in means)
    return f"held-out walks that succeed: {said}; below {100 * FLOOR:.0f}% nothing is learned"


def section(table: pd.DataFrame) -> str:
    own = table[(table["seed"] == "all") & (table["step"] == table["step"].max())]
    own = own.sort_values("arm", key=lambda arms: arms.map(ARMS.index), kind="stable")
    placed = own.set_index(["track", "arm", "kind", "rule", "begun"])
    columns = [(rule, begun) for rule in ("id", "ood") for begun in (ON, OFF)]
    rows = [
        (track, arm, kind, *(at(placed, (track, arm, kind, *c), "success") for c in columns))
        for track, arm, kind in dict.fromkeys(placed.index.droplevel(["rule", "begun"]))
    ]
    head = [f"{rule.upper()}, {begun}" for rule, begun in columns]
    return grid(["track", "arm", "kind", *head], rows)


SCHEMA = table(
    "experience",
    "Success of the walks that a checkpoint of one arm of SFT makes itself on held-out routes "
    "(level), or that of another arm minus that of arm sft on the same walks (difference).",
    (
        TRACK,
        choice(
            "arm",
            ARMS,
            "sft: the expert's examples alone; world_model: first what other actions lead to; "
            "shuffled_world: the same answers to other questions; more_expert: first other "
            "examples of the expert; reflection: answers that say what another action leads to",
        ),
        choice("kind", ("level", "difference"), "which of them"),
        SFT_STEP,
        RULE,
        choice("begun", (ON, OFF), "begins at the start of the route, or after one wrong action"),
        SEED,
        N,
        change("success", "walks that end at the destination; below 0 only as a difference"),
        *interval(change),
    ),
    "track", "arm", "kind", "step", "rule", "begun", "seed",
)  # fmt: skip

FINDING = Finding(
    name="experience",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and _tracks(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "early-experience-teaches(-recovery)?",
        "more-of-the-expert-does-no-more",
        "reflections-teach",
    ),
    order=39,
    title="Early experience: what other actions lead to",
    section=section,
)
