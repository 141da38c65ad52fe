"""Tasks with an ID and an OOD rule, and their exact verifiers. Nothing here needs torch."""

from healscope.config.tasks import AnyTask, OwnTask, task_settings
from healscope.tasks import own
from healscope.tasks.card_game import CardGame
from healscope.tasks.determinant import Determinant
from healscope.tasks.lm_eval_task import LmEval
from healscope.tasks.navigation import Navigation
from healscope.tasks.protocol import Task
from healscope.tasks.rank import Rank


def build(name: str, settings: AnyTask | dict) -> Task:
    """The task of one config section, or of its plain values.

    Raises HealscopeError on values that no section has, and ValueError on options that cannot be.
    """
    if isinstance(settings, dict):
        settings = task_settings(settings)
    if isinstance(settings, OwnTask):
        return own.build(name, settings.model_dump())
    families = {
        "generalpoints": CardGame.of,
        "rank": Rank.of,
        "determinant": Determinant.of,
        "navigation": Navigation.of,
        "lm_eval": LmEval.of,
    }
    return families[settings.family](name, settings)
