"""The former place of `Task`: files of users may import from here what now lies beside it."""

from healscope.tasks.problem import (  # noqa: F401
    EVALUATION_FORMAT,
    FORMATS,
    SIDES,
    Feedback,
    Half,
    Level,
    Option,
    Problem,
    Rendering,
    Side,
    Split,
    Verdict,
    at_level,
)
from healscope.tasks.responses import MAX_RESPONSE, json_object, same_start  # noqa: F401
from healscope.tasks.task import Task  # noqa: F401
