"""Prompts for drift: none of them states a trained rule."""

import pytest

from healscope.tasks.cards.game import FACES, FaceRule, compact_vocabulary
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.pretraining import card_prompts
from healscope.tasks.cards.solver import solvable
from healscope.tasks.neutral import INSTRUCTIONS

COMPACT = GeneralPoints(name="gp3", cards=3, targets=(8, 12, 24), rendering="compact")
JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))


def test_compact_prompts_state_other_rules():
    prompts = card_prompts(COMPACT, 300, 0)
    assert len(set(prompts)) == 300
    vocabulary = set(compact_vocabulary(COMPACT))
    formats = set()
    for text in prompts:
        words = text.split()
        assert set(words) <= vocabulary
        assert words[:5:2] == list(FACES)
        values = tuple(map(int, words[1:6:2]))
        assert values not in ((10, 10, 10), (11, 12, 13))
        assert solvable(FaceRule.of(values).values(words[7:10]), int(words[6]))
        formats.add(words[10])
    assert formats == {"fA", "fB", "fC", "fG"}


def test_instructions():
    assert len(set(INSTRUCTIONS)) == 40
    for text in INSTRUCTIONS:
        assert not {"card", "cards", "formula"} & set(text.lower().split())
        assert not any(letter.isdigit() for letter in text)
    assert sorted(card_prompts(JSON4, 1000, 0)) == sorted(INSTRUCTIONS)


@pytest.mark.parametrize("task", [COMPACT, JSON4], ids=lambda task: task.name)
def test_prompts_are_determined_by_the_seed(task):
    assert card_prompts(task, 10, 0) == card_prompts(task, 40, 0)[:10]
    assert card_prompts(task, 10, 0) != card_prompts(task, 10, 1)
    assert card_prompts(task, 0, 0) == []
    with pytest.raises(ValueError, match="n must be"):
        card_prompts(task, -1, 0)
