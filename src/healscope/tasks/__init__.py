"""Tasks with an ID and an OOD rule, and their exact verifiers. Nothing here needs torch."""

from healscope.config.tasks import AnyTask, task_settings
from healscope.tasks.card_game import CardGame
from healscope.tasks.lm_eval_task import LmEval
from healscope.tasks.protocol import Task


def build(name: str, settings: AnyTask | dict) -> Task:
    """The task of one config section, or of its plain values.

    Raises pydantic's ValidationError on values that no section has, and ValueError on options that
    cannot be.
    """
    if isinstance(settings, dict):
        settings = task_settings(settings)
    families = {"generalpoints": CardGame.of, "lm_eval": LmEval.of}
    return families[settings.family](name, settings)
