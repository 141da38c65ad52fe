"""Protocols that ask for neighbours of the card game: what a study needs for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healscope.tasks.cards.card_game import CardGame

if TYPE_CHECKING:
    from healscope.config import Study


def check(study: Study) -> None:
    """Raises ValueError where a compact answer would be cut short.

    Such a protocol asks nothing of a study that trains on no card game.
    """
    protocols = study.evaluation.protocols.items()
    asked = [name for name, protocol in protocols if protocol.problems == "neighbours"]
    trained = (study.tasks[name] for name in study.trained_on)
    cards = [task for task in trained if issubclass(task.task_class, CardGame)]
    if not asked or not cards:
        return
    most = 1 + max((task.cards for task in cards if task.rendering == "compact"), default=0)
    given, words = study.evaluation.max_new_tokens, 6 * most
    if most > 1 and given < words:
        raise ValueError(
            f"evaluation.max_new_tokens: {given}, but an answer with {most} cards, which protocol "
            f"'{asked[0]}' asks for, has {words} words"
        )
