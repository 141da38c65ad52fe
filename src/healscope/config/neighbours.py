"""Protocols that ask for neighbours of the card game: what a study needs for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healscope.config.tasks import GeneralPointsTask

if TYPE_CHECKING:
    from healscope.config import Study


def check(study: Study) -> None:
    """Raises ValueError where no training task has any, or a compact answer would be cut short."""
    protocols = study.evaluation.protocols.items()
    asked = [name for name, protocol in protocols if protocol.problems == "neighbours"]
    if not asked:
        return
    cards = [task for task in study.tasks.values() if isinstance(task, GeneralPointsTask)]
    if not any(isinstance(study.tasks[name], GeneralPointsTask) for name in study.trained_on):
        raise ValueError(
            f"evaluation.protocols.{asked[0]}: neighbours are of a card game that is trained on, "
            "and train_on names no task of family generalpoints; leave this protocol out"
        )
    most = 1 + max((task.cards for task in cards if task.rendering == "compact"), default=0)
    given, words = study.evaluation.max_new_tokens, 6 * most
    if most > 1 and given < words:
        raise ValueError(
            f"evaluation.max_new_tokens: {given}, but an answer with {most} cards, which protocol "
            f"'{asked[0]}' asks for, has {words} words"
        )
