"""Training tasks side by side, under results/tables."""

from healscope import artifacts, verdicts
from healscope.claims import tasks
from healscope.schema import choice, table, text
from healscope.schemas.shared import (
    ACCURACY,
    INSTANCES,
    SEED,
    STAGE,
    STEP,
    N,
    effect,
    interval,
)
from healscope.tasks.schemas import RULE

_TASK = (
    text("track", "its name in the config; empty for published values"),
    text("model", "name of the model"),
    text("task", "name of the task that it was trained on, and is asked"),
    text("family", "family of the task"),
)
COMPARED = (
    table(
        "task-landmarks",
        "Accuracy at one landmark under one rule, of one model on one training task; or what was "
        "published of a model on a task of that family.",
        (
            *_TASK,
            choice("kind", ("measured", "published"), "which of them"),
            choice(
                "landmark",
                artifacts.LANDMARK_NAMES,
                "maxood as other seeds and instances pick it",
            ),
            RULE,
            SEED,
            N,
            INSTANCES,
            ACCURACY,
            *interval(),
            text("checkpoint", "behind the landmark; missing for all seeds", nullable=True),
            text("source", "of a published value; else empty"),
        ),
        "track", "model", "task", "kind", "landmark", "rule", "seed", "source",
    ),
    table(
        "task-curves",
        "Held-out accuracy of one checkpoint under one rule, of one model on one training task.",
        (
            *_TASK,
            STAGE,
            STEP,
            text("checkpoint", "its name"),
            RULE,
            SEED,
            N,
            INSTANCES,
            ACCURACY,
            *interval(),
        ),
        "track", "task", "checkpoint", "rule", "seed",
    ),
    table(
        "task-claims",
        "One question to one model on one training task, as the gate, the claims or the window of "
        "RL starts answer it.",
        (
            *_TASK,
            choice("question", tasks.QUESTIONS, "short name of what is asked"),
            text("statement", "what is judged, in a sentence"),
            choice("verdict", verdicts.VERDICTS, "by `verdicts`"),
            text("source", "table and row that it is taken from"),
            *effect("change of held-out accuracy; missing where nothing was left to ask", True),
        ),
        "track", "task", "question",
    ),
)  # fmt: skip
