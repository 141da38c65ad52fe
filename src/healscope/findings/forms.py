"""Which forms of answers RL amplifies, whether beyond what selection gives, and what it adds.

After pretraining on a mixture, RL is said to converge to one form of it, and to add no solutions
(arXiv 2504.07912; from the paper's released code and text). With 0/1 rewards the best policy near
the start weighs every form by its accuracy, and no more: N_i = F_i A_i / sum_j F_j A_j is what
keeping the right answers alone gives. So a form is amplified *beyond selection* only where its
share exceeds N_i. Answers are sampled; each is judged by the form that it has.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from healscope import artifacts, stats
from healscope.config import DEEP, EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, interval
from healscope.findings.contrasts import never_there, row
from healscope.findings.finding import Finding
from healscope.findings.rows import summarise
from healscope.findings.structured import as_read, sampled, sampled_answers, samples
from healscope.markdown import grid, level
from healscope.schema import TRACK, Column, choice, table, text
from healscope.tasks.schemas import RULE
from healscope.verdicts import at_most, positive

MEASURES = {
    "share at the start": "share of the form among answers before RL",
    "share": "the same after RL",
    "selected": "share of the form among the right answers before RL, mean over problems that have "
    "any: what keeping these alone gives",
    "accuracy at the start": "share of right answers among those in the form, before RL",
    "accuracy": "the same after RL",
    "pass@1 at the start": "share of right answers, whatever their form, before RL",
    "pass@1": "the same after RL",
    "pass@k at the start": "share of problems with a right answer among all samples, before RL",
    "pass@k": "the same after RL",
    "new": "share of problems solved in half of the samples after RL that no answer of half of "
    "them solved before",
    "new by chance": "the same of the other half of the samples before RL",
}

_PLACE = ["track", "seed", "rule", "problem_id", "draw", "instance_id", "half"]


def pairs(files: Files) -> dict[str, str]:
    """Return branch -> the checkpoint that it starts from, of recipes that pay every form."""
    found = {}
    for branch in files.study.branches:
        recipe, start = artifacts.parse_branch(branch)
        if "any_form" in getattr(files.study.rl.recipes[recipe], "reward", {}):
            found[branch] = artifacts.sft(start)
    return found


def _inputs(files: Files) -> dict[str, list[str]]:
    return sampled_answers(files, [name for pair in pairs(files).items() for name in pair])


def _lacking(files: Files) -> str:
    if not pairs(files):
        return "a branch of a recipe that pays every form, as {like: ppo, reward: {any_form: 1}}"
    asked = sampled(files)
    for branch in pairs(files):
        recipe = files.study.rl.recipes[artifacts.parse_branch(branch)[0]]
        if asked.sample_temperature != recipe.temperature:
            return (
                f"samples at the temperature of RL ({recipe.temperature:g}), since what selection "
                "gives depends on it: set sample_temperature of the protocol"
            )
    if asked.samples < 4:
        return f"a protocol '{DEEP}' with samples, or those of '{EXHAUSTIVE}'"
    return ""


def read(evaluations: list[str], posed: list[str], tasks: dict[str, dict]) -> pd.DataFrame:
    """Return every sampled answer with its form, and whether it is right in that form."""
    return as_read(
        samples(evaluations),
        posed,
        tasks,
        form=lambda task, problem, text: task.form(problem, text),
        right=lambda task, problem, text: task.verify_in_form(problem, text).outcome == "correct",
    )


def by_problem(rows: pd.DataFrame, forms: Iterable[str] = ()) -> pd.DataFrame:
    """Return a row for each problem that a checkpoint answered, and form: how many of its samples
    have the form, how many of these are right, and how many samples there are.

    Forms are those that there are, and `forms`.
    """
    place = [*_PLACE, "checkpoint"]
    counted = rows.groupby([*place, "form"])["right"].agg(["size", "sum"]).reset_index()
    counted = counted.rename(columns={"size": "answers", "sum": "right"})
    forms = sorted({*rows["form"], *forms})
    whole = rows[place].drop_duplicates().merge(pd.DataFrame({"form": forms}), how="cross")
    counted = whole.merge(counted, how="left", on=[*place, "form"])
    counted[["answers", "right"]] = counted[["answers", "right"]].fillna(0).astype(float)
    total = counted.groupby(place)[["answers", "right"]].transform("sum")
    return counted.assign(
        share=counted["answers"] / total["answers"],
        samples=total["answers"],
        solved=total["right"],
        selected=counted["right"] / total["right"].replace(0, np.nan),
    )


def _halves(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return whether each problem is solved in the first half of one checkpoint's samples, and in
    the second."""
    first = 2 * (rows["sample"] - 1) < rows["sample"].max()
    return tuple(part.groupby(_PLACE)["right"].any() for part in (rows[first], rows[~first]))


def _new(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """Return the problems solved after, and whether each is unsolved before (column value)."""
    both = pd.DataFrame({"before": before, "after": after}).dropna().astype(bool).reset_index()
    return both[both["after"]].assign(value=lambda x: 1.0 - x["before"])


def measure(
    evaluations: list[str], posed: list[str], tasks: dict[str, dict], statistics: Statistics
) -> pd.DataFrame:
    """Return how often each form is used and right before and after RL, and what is solved at all.

    `selected` is the null of selection alone. What is *new* is solved after RL in half of its
    samples and not before in half of those; by chance the other half of the samples before RL has
    as many that look new.
    """
    rows = read(evaluations, posed, tasks)
    out = []
    for branch, before, after in _branches(rows):
        recipe, start = artifacts.parse_branch(branch)
        for rule in sorted(rows["rule"].unique()):
            ends = [part[part["rule"] == rule] for part in (before, after)]
            for what, form, frame, weight in (*_measured(*ends), *_solved_anew(*ends)):
                found = summarise(frame, ["track"], statistics, "value", weight=weight)
                named = {"recipe": recipe, "start": start, "rule": rule}
                out.append(found.assign(**named, measure=what, form=form))
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "value"}).drop(columns="n")


def _branches(rows: pd.DataFrame):
    """Yield each branch with the answers where it starts, and after it, of one track."""
    for _, own in rows.groupby("track"):
        for branch in own["checkpoint"].unique():
            if "-from-" in branch:
                start = artifacts.sft(artifacts.parse_branch(branch)[1])
                yield branch, *(own[own["checkpoint"] == name] for name in (start, branch))


def _measured(before: pd.DataFrame, after: pd.DataFrame):
    """Yield measure, form, rows with a column `value`, and the column that weighs them."""
    for suffix, answers in ((" at the start", before), ("", after)):
        counted = by_problem(answers)
        for form, own in counted.groupby("form"):
            yield f"share{suffix}", form, own.assign(value=own["share"]), None
            right = own["right"] / own["answers"].replace(0, np.nan)
            yield f"accuracy{suffix}", form, own.assign(value=right)[own["answers"] > 0], "answers"
            if suffix:
                yield "selected", form, own.assign(value=own["selected"]).dropna(), None
        whole = counted.drop_duplicates(_PLACE)
        yield f"pass@1{suffix}", "", whole.assign(value=whole["solved"] / whole["samples"]), None
        yield f"pass@k{suffix}", "", whole.assign(value=1.0 * (whole["solved"] > 0)), None


def _solved_anew(before: pd.DataFrame, after: pd.DataFrame):
    """Yield the same of problems that look newly solved, after RL and in a second draw before."""
    first, second = _halves(before)
    for what, solved in (("new", _halves(after)[0]), ("new by chance", second)):
        yield what, "", _new(first, solved), None


# Claims.


def judge(
    evaluations: list[str], posed: list[str], tasks: dict[str, dict], statistics: Statistics
) -> list[dict]:
    """Return the claims of each track, on ID problems and the first branch that pays every form.

    Which form grows most is picked on other seeds and the other half of the problems.
    """
    rows = read(evaluations, posed, tasks)
    found, done = [], set()
    for branch, before, after in _branches(rows[rows["rule"] == "id"]):
        track = before["track"].iloc[0]
        if track not in done:
            done.add(track)
            found += [{"track": track, **c} for c in claims_of(branch, before, after, statistics)]
    return found


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return, of each problem and form, its share before and after and what selection gives."""
    # of a run that failed there is no answer, which is not an answer that was lost
    asked = ["seed", "problem_id", "draw"]
    known = before[asked].merge(after[asked]).drop_duplicates()
    before, after = (part.merge(known, on=asked) for part in (before, after))
    keys = [*_PLACE, "form"]
    forms = {*before["form"], *after["form"]}
    now = by_problem(after, forms)[[*keys, "share", "solved", "samples"]]
    return by_problem(before, forms).merge(now, on=keys, suffixes=("_before", ""))


def picked(both: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the form whose share grows most on other seeds and the other half."""
    forms = sorted(set(both["form"]) - {"other"}) or ["other"]
    grown = both.assign(change=both["share"] - both["share_before"])
    choice_of = stats.picked_elsewhere(
        lambda form, seeds, half: stats.mean_of_seeds(
            stats.of_part(grown[grown["form"] == form], seeds, half), "change"
        ),
        forms,
        sorted(both["seed"].unique()),
    )
    return stats.at_picked({form: grown[grown["form"] == form] for form in forms}, choice_of)


def claims_of(
    branch: str, before: pd.DataFrame, after: pd.DataFrame, statistics: Statistics
) -> list[dict]:
    both = changes(before, after)
    own = picked(both)
    named = ", ".join(sorted(own["form"].unique()))
    start = float(own["share_before"].mean())
    asked = before["seed"].unique()
    grows = stats.bootstrap(own, "change", statistics).among(asked)
    known = own.dropna(subset=["selected"])
    beyond = stats.bootstrap(
        known.assign(change=known["share"] - known["selected"]), "change", statistics
    ).among(asked)
    whole = both.drop_duplicates(_PLACE)
    whole = whole.assign(
        first=whole["solved"] / whole["samples"] - whole["solved_before"] / whole["samples_before"],
        any=1.0 * (whole["solved"] > 0) - 1.0 * (whole["solved_before"] > 0),
    )
    once, ever = (
        stats.bootstrap(whole.assign(change=whole[c]), "change", statistics).among(asked)
        for c in ("first", "any")
    )
    where = f"sampled answers to held-out ID problems, {branch}; form {named}"
    k = int(whole["samples"].max())
    return [
        row(
            "rl-amplifies-a-form",
            "RL from a mixture of forms raises the share of one of them (arXiv 2504.07912)",
            grows,
            never_there(positive(grows), start),
            f"{where}, which has {100 * start:.0f}% before; picked on other seeds and the other "
            "half of the problems",
        ),
        row(
            "rl-amplifies-beyond-selection",
            "RL raises the share of that form above what keeping right answers alone gives",
            beyond,
            never_there(positive(beyond), start),
            f"{where}; share after RL minus the form's share among right answers before, on "
            "problems that have any",
        ),
        row(
            "rl-raises-pass-at-1",
            "RL raises the share of right answers, whatever their form",
            once,
            positive(once),
            where,
        ),
        row(
            "rl-adds-no-solved-problem",
            f"RL does not raise the share of problems with a right answer among {k}",
            ever,
            at_most(ever),
            f"{where}; an independent study found gains here, too",
        ),
    ]


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    rows = [
        (r["recipe"], r["start"], r["rule"].upper(), r["measure"], r["form"] or "any",
         level(r, "value"))
        for r in whole.to_dict("records")
    ]  # fmt: skip
    return grid(["recipe", "start", "rule", "measure", "form", "%"], rows)


SCHEMA = table(
    "forms",
    "One share of sampled answers, or of problems, before and after RL that pays every form.",
    (
        TRACK,
        text("recipe", "recipe of RL"),
        START,
        RULE,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        text("form", "form of the answers (`Task.form`); empty: all"),
        SEED,
        Column("value", "float", "the share", "share", low=0, high=1),
        *interval(),
    ),
    "track", "recipe", "start", "rule", "measure", "form", "seed",
)  # fmt: skip

FINDING = Finding(
    name="forms",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.study.rl and pairs(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "rl-amplifies-(a-form|beyond-selection)",
        "rl-raises-pass-at-1",
        "rl-adds-no-solved-problem",
    ),
    order=30,
    title="Forms of answers",
    section=section,
)
