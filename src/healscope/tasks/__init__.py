"""Tasks with an ID and an OOD rule, and their exact verifiers. Nothing here needs torch."""

from healscope.config import GeneralPointsTask
from healscope.config.tasks import OwnTask
from healscope.tasks import own
from healscope.tasks.generalpoints import GeneralPoints, Rule
from healscope.tasks.protocol import Task


def build(name: str, settings: GeneralPointsTask | OwnTask) -> GeneralPoints | Task:
    """The task of one config section."""
    if isinstance(settings, OwnTask):
        return own.build(name, settings.model_dump())
    return GeneralPoints(
        name=name,
        n_cards=settings.cards,
        targets=tuple(settings.targets),
        id_rule=Rule("id", settings.id_rule.model_dump()),
        ood_rule=Rule("ood", settings.ood_rule.model_dump()),
        rendering=settings.rendering,
        verifier=settings.verifier,
        grade_number_line=settings.grade_number_line,
        rewards=settings.rewards.model_dump(),
    )
