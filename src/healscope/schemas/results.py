"""What was found, under results/tables: the gate, accuracies, reversions, claims."""

from typing import get_args

from healscope import artifacts, diagnosis, edit_names, gate, published, verdicts
from healscope.evaluation.schemas import DISTANCES, EDIT_STAGE, TURNED
from healscope.schema import (
    TRACK,
    Column,
    Schema,
    change,
    choice,
    count,
    flag,
    real,
    share,
    table,
    text,
)
from healscope.schemas.shared import (
    ACCURACY,
    ALL_SEEDS,
    CHECKPOINT,
    EDIT,
    ONE_SEED,
    SEED,
    SFT_STEP,
    STAGE,
    STEP,
    N,
    effect,
    interval,
)
from healscope.tables import episodes, protocols
from healscope.tables import published as published_table
from healscope.tables.neighbours import POINTS
from healscope.tasks.cards import neighbours as near
from healscope.tasks.problem import Split
from healscope.tasks.schemas import PROTOCOL, RULE, SPLIT

_KINDS = ", ".join(edit_names.KINDS)

_VERDICTS = (
    table(
        "gate",
        "One phenomenon in one model: how far held-out OOD accuracy changes, and what it says.",
        (
            TRACK,
            choice("phenomenon", gate.PHENOMENA, "what has to be there to be explained"),
            choice("stage", artifacts.STAGES, "stage that brings it about"),
            choice("answer", gate.ANSWERS.values(), "whether it is there"),
            *effect("OOD accuracy after minus before"),
        ),
        "track", "phenomenon",
    ),
    table(
        "published",
        "One published accuracy at a landmark (level), or its change between two (change), beside "
        "what was measured.",
        (
            TRACK,
            ALL_SEEDS,
            PROTOCOL,
            choice("published_model", published.ALLOWED["model"], "model of the paper"),
            RULE,
            choice("kind", ("level", "change"), "which of them"),
            choice(
                "what",
                (*published_table.LEVELS, *("→".join(c) for c in published.CONTRASTS["fig1"])),
                "the landmark, or from which to which",
            ),
            change("published", "as published; a change counts after minus before"),
            change("published_low", "lower limit of its interval"),
            change("published_high", "upper limit of its interval"),
            count("published_n", "hands behind it", "hands", low=1),
            flag("published_alone", "the published change is told from 0 by itself"),
            change("measured", "the same in this study"),
            *interval(change),
            Column("difference", "float", "measured minus published", "share", low=-2, high=2),
            Column("difference_low", "float", "lower limit of its interval", "share"),
            Column("difference_high", "float", "upper limit of its interval", "share"),
            choice(
                "compatible",
                ("yes", "no", "undecided"),
                "no: the interval of the difference leaves out 0; undecided: it also holds the "
                "opposite of what was published",
            ),
            flag("same_direction", "the signs agree"),
        ),
        "track", "protocol", "published_model", "rule", "kind", "what", "published",
    ),
    table(
        "claims",
        "One claim of the paper in one model: how large the effect is, and whether it held.",
        (
            TRACK,
            text("claim", "short name"),
            text("statement", "the claim, in a sentence"),
            choice("verdict", verdicts.VERDICTS, "by `verdicts`, corrected for their number"),
            choice("verdict_alone", verdicts.VERDICTS, "the same before the correction"),
            choice("family", ("primary", "other"), "what it is corrected with"),
            share("p", "two-sided p of the verdict; missing where nothing was measured", True),
            share("p_adjusted", "by Holm (primary) or Benjamini and Hochberg (other)", True),
            *effect("the change that decides; missing where nothing was left to ask", True),
            text("detail", "what was compared, and numbers beside it"),
        ),
        "track", "claim",
    ),
)  # fmt: skip

_ACCURACY = (
    table(
        "landmarks",
        "Held-out accuracy at one landmark under one rule.",
        (
            TRACK,
            choice(
                "landmark",
                ("maxood", "maxood_uncorrected", "end", "rl"),
                "maxood as other seeds and instances pick it; maxood_uncorrected on the answers "
                "that picked it",
            ),
            RULE,
            SEED,
            N,
            ACCURACY,
            *interval(),
            text("checkpoint", "behind the landmark; missing for all seeds", nullable=True),
        ),
        "track", "landmark", "rule", "seed",
    ),
    table(
        "curves",
        "Accuracy of one checkpoint on one split under one rule.",
        (
            TRACK,
            STAGE,
            STEP,
            text("checkpoint", "its name"),
            SPLIT,
            RULE,
            SEED,
            N,
            ACCURACY,
            *interval(),
        ),
        "track", "checkpoint", "split", "rule", "seed",
    ),
    table(
        "rl-window",
        "Change of held-out accuracy by RL from one start, paired by problem.",
        (
            TRACK,
            count("start", "SFT step where RL starts", "steps"),
            RULE,
            SEED,
            N,
            change("change", "accuracy after minus before"),
            *interval(change),
            share("before", "accuracy at the start"),
            share("after", "accuracy after RL"),
            Column(
                "mcnemar_p",
                "float",
                "McNemar's test on one problem of each instance; for single seeds",
                "probability",
                low=0,
                high=1,
                nullable=True,
            ),
        ),
        "track", "start", "rule", "seed",
    ),
    table(
        "arms",
        "Held-out accuracy along one arm of SFT (level), or that of another arm minus that of "
        "arm sft on the same problems (difference).",
        (
            TRACK,
            text(
                "arm",
                "sft: one prompt and one answer a problem; controls: diverse, paraphrased prompts; "
                "solutions, any correct answer; or a method of the config",
            ),
            choice("kind", ("level", "difference"), "which of them"),
            SFT_STEP,
            RULE,
            SEED,
            N,
            change("accuracy", "greedy first attempts; below 0 only as a difference"),
            *interval(change),
        ),
        "track", "arm", "kind", "step", "rule", "seed",
    ),
    Schema(
        "reversion",
        artifacts.path(artifacts.TABLE, table="reversion-{stage}"),
        "Held-out accuracy of one edited model, of the unedited target (none) or of the checkpoint "
        "that parts are put back to (parent). There is one table for each stage of edits.",
        (
            TRACK,
            EDIT_STAGE,
            text("name", "of the edit; of the landmark or checkpoint, for target and parent"),
            text("kind", f"{_KINDS}; of a sum, joined by +; none: the target; parent"),
            *EDIT,
            RULE,
            SEED,
            N,
            ACCURACY,
            *interval(),
            *DISTANCES,
            TURNED,
        ),
        ("track", "name", "kind", "rule", "seed"),
    ),
    table(
        "repair",
        "What one edit of stage sft changes in held-out accuracy, what going back to the parent or "
        "RL would, and what the cheapest edit for a share of the loss does.",
        (
            text("name", "of the edit; of the landmark or checkpoint; of the share"),
            text(
                "picked",
                "the edit picked for a share of the loss by other seeds and instances; "
                "else empty",
            ),
            text("kind", f"{_KINDS}; of a sum, joined by +; parent; rl; pick"),
            *EDIT,
            *DISTANCES,
            TURNED,
            *(
                column
                for rule in ("id", "ood")
                for column in (
                    change(f"{rule}_change", f"{rule.upper()} accuracy less that of the target"),
                    change(f"{rule}_low", "lower limit of the interval"),
                    change(f"{rule}_high", "upper limit of the interval"),
                    Column(f"{rule}_by_seed", "floats", "in each seed", "difference of shares"),
                )
            ),
            real("restored", "ood_change, of what was lost from parent to target", "ratio", True),
            flag("front", "no edit (no control) gives more OOD accuracy at no more ID cost"),
            TRACK,
            ALL_SEEDS,
        ),
        "track", "name", "kind",
    ),
)  # fmt: skip


def _measures() -> tuple[Column, ...]:
    """The columns of `protocols`, each way of counting with its interval."""
    found = []
    for name, about in {
        "first_attempt": "right at the first attempt",
        "first_attempt_retried": "the same, on problems that are also sampled and retried",
        "pass_at_1": "mean over the samples",
        "pass_at_k": "right in at least one of k samples",
        **{
            f"after_{level}": f"right within `attempts` attempts, with feedback {level}"
            for level in protocols.LEVELS
        },
    }.items():
        nullable = name != "first_attempt"  # a protocol need not sample or retry
        found.append(share(name, about, nullable))
        found += [
            share(f"{name}_{end}", f"{which} limit of the interval", nullable)
            for end, which in (("low", "lower"), ("high", "upper"))
        ]
    return tuple(found)


_PROTOCOLS = (
    table(
        "protocols",
        "Accuracy of one checkpoint under one protocol, rule and split, in every way of counting.",
        (
            TRACK,
            PROTOCOL,
            STAGE,
            STEP,
            CHECKPOINT,
            RULE,
            choice("split", ("any", *get_args(Split)), "side of the hold-out; any: all hands"),
            SEED,
            count("k", "samples behind pass_at_k", "samples"),
            count("attempts", "attempts in one conversation", "attempts", low=1),
            share("later_parsed", "attempts after feedback that are in the answer format", True),
            *_measures(),
        ),
        "track", "protocol", "checkpoint", "rule", "split", "seed",
    ),
    table(
        "exposure",
        "What one protocol's problems had to do with training, at the last SFT checkpoint.",
        (
            TRACK,
            PROTOCOL,
            ONE_SEED,
            RULE,
            count("problems", "problems posed", "problems"),
            count("distinct_instances", "instances among them", "instances"),
            share("training_side_share", "problems on the training side of the hold-out"),
            share("trained_on_share", "problems whose ID values this seed was trained on"),
            share("accuracy_trained_on", "first attempts at these", True),
            share("accuracy_not_trained_on", "first attempts at the others", True),
            count("messages", "messages of feedback `full`", "messages"),
            share("told_rule_share", "messages that named an unused value of a face card", True),
            share("accuracy_after_told", "attempts right once such a message had come", True),
            share("accuracy_after_not_told", "attempts right where none had come yet", True),
        ),
        "track", "protocol", "seed", "rule",
    ),
)  # fmt: skip

_NEIGHBOURS = (
    table(
        "neighbours",
        "Held-out accuracy at one landmark on problems that differ from training in one thing, by "
        "so much; or its change since an earlier landmark, paired by problem.",
        (
            TRACK,
            PROTOCOL,
            choice("neighbour", near.KINDS, "kind of neighbour: what differs from training"),
            Column(
                "distance",
                "int",
                "; ".join(f"{kind}: {about}" for kind, about in near.KINDS.items()),
            ),
            choice("landmark", POINTS, "maxood as other seeds and instances pick it"),
            choice("since", ("", *POINTS), "the earlier landmark; empty: the accuracy itself"),
            SEED,
            N,
            change("accuracy", "greedy first attempts; below 0 only as a change"),
            *interval(change),
        ),
        "track", "protocol", "neighbour", "distance", "landmark", "since", "seed",
    ),
)  # fmt: skip

_EPISODES = (
    table(
        "episodes",
        "Success in a task of several steps: of one checkpoint under one protocol, rule and split.",
        (
            TRACK,
            PROTOCOL,
            STAGE,
            STEP,
            CHECKPOINT,
            RULE,
            choice("split", ("any", *get_args(Split)), "side of the hold-out; any: all drawn"),
            choice(
                "way",
                episodes.WAYS,
                "first: first tries; after_…: all tries of a conversation, with that feedback",
            ),
            choice(
                "measure",
                episodes.MEASURES,
                "episode: all of its steps are right; step: a step is; step_reached: as the "
                "released code counts, tries that are right until every try at a step failed",
            ),
            SEED,
            count("n", "episodes, steps or tries that the share is of", "rows"),
            share("share", "how many of these are right"),
            *interval(share),
        ),
        "track", "protocol", "checkpoint", "rule", "split", "way", "measure", "seed",
    ),
)  # fmt: skip

_DIAGNOSIS = (
    table(
        "diagnosis",
        "One number of the page `diagnosis.md`, about one model.",
        (
            TRACK,
            share("margin", "a change within it counts as none"),
            choice("part", diagnosis.PARTS, "section of the page"),
            text("name", "what is measured; of rotation, kind, control and which of them"),
            RULE,
            text("before", "where it starts from: a checkpoint, or edits; or empty"),
            text("after", "checkpoint or edit that it is measured at"),
            choice("verdict", ("", *verdicts.VERDICTS), "by `verdicts`; empty: nothing is judged"),
            *effect("change of held-out accuracy; `accuracy` and `maxood`: the accuracy itself"),
            *DISTANCES,
        ),
        "track", "part", "name", "rule", "after",
    ),
)  # fmt: skip

RESULTS = (*_DIAGNOSIS, *_VERDICTS, *_ACCURACY, *_PROTOCOLS, *_EPISODES, *_NEIGHBOURS)
