"""Texts before problems that name their rule: what they say, that it is true, what they leak."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from healscope.errors import HealscopeError
from healscope.tasks.cards import contexts
from healscope.tasks.cards.expressions import evaluate
from healscope.tasks.cards.game import FACES, RULE_NAMES, FaceRule, make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.posing import Protocol
from healscope.tasks.pretraining import Pretraining
from healscope.tasks.problem import Context
from healscope.tasks.section import section_of

GAME = GeneralPoints(
    name="named", cards=3, targets=(6, 8, 10, 12, 18, 20, 24), rendering="compact",
    rule_shown="name",
)  # fmt: skip
PLAIN = replace(GAME, rule_shown="values")


@pytest.fixture(scope="module")
def posed():
    return GAME.posed(None, Protocol(problems="contexts", per_kind=20))


def test_a_prompt_names_its_rule_and_says_no_value_of_it():
    hand = ("J", "5", "3")
    for side, name in (("id", "plain"), ("ood", "court")):
        assert GAME.prompt(make_problem(GAME, hand, side, 8)) == f"{name} 8 J 5 3 fD"
    problem = make_problem(PLAIN, hand, "ood", 8)
    assert PLAIN.prompt(problem) == "J 11 Q 12 K 13 8 J 5 3 fD"
    assert set(GAME.words()) - set(PLAIN.words()) == set(RULE_NAMES)
    with pytest.raises(ValueError, match="rule_shown: name needs rendering compact"):
        replace(GAME, rendering="json")


def test_tasks_that_say_their_rule_are_dumped_as_before():
    section = section_of(GeneralPoints)
    assert "rule_shown" not in section(targets=[24]).model_dump()
    named = section(targets=[24], rendering="compact", rule_shown="name").model_dump()
    assert named["rule_shown"] == "name"
    assert "contexts" not in Pretraining().model_dump()
    assert Pretraining(contexts=0.4).model_dump()["contexts"] == 0.4


def test_knowledge_tells_the_rule_and_false_knowledge_another():
    problem = make_problem(GAME, ("J", "5", "3"), "ood", 8)
    right, wrong = (contexts.told(GAME, problem, k) for k in ("knowledge", "false knowledge"))
    assert right == Context("knowledge", "court J 11 Q 12 K 13", leaks=True)
    assert wrong == Context("false knowledge", "court J 12 Q 13 K 11", leaks=False)
    with pytest.raises(HealscopeError, match="set rule_shown: name"):
        contexts.told(PLAIN, problem, "knowledge")
    assert right.before("court 8 J 5 3 fD") == "court J 11 Q 12 K 13 court 8 J 5 3 fD"
    assert right.tokens == 7
    assert Context("none", "", leaks=False).before("court 8") == "court 8"


@pytest.mark.parametrize(
    ("text", "leaks"),
    [("J 11 invalid 10", True), ("Q 12 invalid 10", False), ("( + ) * 5", False), ("", False)],
)
def test_a_text_leaks_where_it_names_what_a_dealt_face_card_counts_as(text, leaks):
    assert contexts.leaks(make_problem(GAME, ("J", "5", "3"), "ood", 8), text) == leaks


def test_what_was_tried_is_right_under_its_rule_and_wrong_as_under_the_other():
    rule, other = FaceRule.of((11, 12, 13)), FaceRule.of((10, 10, 10))
    for one in islice(contexts.tries(GAME, rule, other, np.random.default_rng(0)), 50):
        assert rule.values(one.cards) == one.values != one.wrong_values == other.values(one.cards)
        for formula, values in (
            (one.formula, one.values), (one.wrong_formula, one.wrong_values)
        ):  # fmt: skip
            found = evaluate(formula)
            assert found.state == "complete"
            assert sorted(found.numbers) == sorted(values)
            assert Fraction(found.numerator, found.denominator) == one.target


@pytest.mark.parametrize("tokens", [30, 48, 64])
@pytest.mark.parametrize("kept", contexts.CELLS)
def test_memory_is_as_long_as_it_may_be_and_holds_whole_pieces(kept, tokens):
    rule, other = FaceRule.of((11, 12, 13)), FaceRule.of((10, 10, 10))
    rng = np.random.default_rng(1)
    words = contexts.memory("court", *kept, contexts.tries(GAME, rule, other, rng), tokens).split()
    assert len(words) == tokens
    assert words[0] == "court"
    assert set(words) <= set(GAME.words())


def test_lessons_say_what_is_true_and_nothing_of_a_hand():
    """`J 11 invalid 10`: J counts as 11 and not as 10; operators are those of a right formula."""
    rule, other = FaceRule.of((11, 12, 13)), FaceRule.of((10, 10, 10))
    one = next(contexts.tries(GAME, rule, other, np.random.default_rng(2)))
    hand = one._replace(cards=("J", "5", "K"), values=(11, 5, 13), wrong_values=(10, 5, 10))
    assert contexts._verdicts("court", hand) == ["J 11 invalid 10", "K 13 invalid 10"]
    operators = hand._replace(formula=("(", "11", "-", "5", ")", "*", "2"))
    assert contexts._operators("court", operators) == ["( - ) *"]
    text = contexts.memory(
        "court", "lesson", "lesson", contexts.tries(GAME, rule, other, np.random.default_rng(2))
    ).split()
    for card in FACES:
        at = text.index(card)
        assert text[at + 1 : at + 4] == [str(getattr(rule, card)), "invalid", "10"]


def test_posed_hands_are_held_out_and_the_same_after_every_text(posed):
    splits = GAME.splits()
    assert set(posed["rule"]) == {"ood"}
    assert posed["problem_id"].is_unique
    assert {splits[i] for i in posed["instance_id"]} == {"held_out"}
    assert list(posed["neighbour"][: len(contexts.KINDS)]) == list(contexts.KINDS)
    assert posed.groupby("pair_id")["neighbour"].agg(set).map(len).eq(len(contexts.KINDS)).all()
    memory = posed[posed["neighbour"].str.contains("memory")]
    assert set(memory["distance"]) == {contexts.MEMORY_TOKENS}
    for row in posed.to_dict("records"):
        bare = GAME.prompt(GAME.read(row))
        assert row["prompt"].endswith(bare)
        assert len(row["prompt"].split()) - len(bare.split()) == row["distance"]
    with pytest.raises(HealscopeError, match="set rule_shown: name"):
        PLAIN.posed(None, Protocol(problems="contexts", per_kind=1))


def test_memory_is_of_hands_that_training_may_see(posed):
    splits = GAME.splits()
    told = posed.loc[posed["neighbour"] == contexts.cell("verbatim", "verbatim"), "prompt"]
    named = 0
    for prompt in told:
        words = prompt.split()[:-6]  # less the problem
        for at, word in enumerate(words):
            if word == "court" and words[at + 1].isdigit():
                deal = contexts._deal(tuple(words[at + 2 : at + 5]), int(words[at + 1]))
                values = sorted(GAME.id_rule.values(deal.cards))
                instance = f"{'-'.join(map(str, values))}>{deal.target}"
                assert splits.get(instance) == "train"
                named += 1
    assert named >= len(told)


def read_by_script(prompt: str) -> dict[str, str]:
    """Return what J, Q and K count as by knowledge or by lessons, if they have the name of the
    problem's rule."""
    words = prompt.split()
    name, text = words[-6], words[:-6]
    if text[:1] != [name]:
        return {}
    if len(text) == 7:
        return dict(zip(text[1::2], text[2::2], strict=True))
    return {card: value for card, value, word in zip(text, text[1:], text[2:], strict=False)
            if card in FACES and word == "invalid"}  # fmt: skip


def test_a_reader_of_texts_gains_all_with_the_right_one_and_nothing_with_another(posed):
    """The planted reader answers right exactly where the text tells all that it needs."""
    right = {}
    for row in posed.to_dict("records"):
        problem, known = GAME.read(row), read_by_script(row["prompt"])
        values = [known.get(card, "10") if card in FACES else str(value)
                  for card, value in zip(problem.cards, problem.values, strict=True)]  # fmt: skip
        said = list(map(int, values)) == list(problem.values)
        answer = GAME.answers(problem)[0] if said else ""
        correct = GAME.verify(problem, answer).outcome == "correct"
        right.setdefault(row["neighbour"], []).append(correct)
    share = {kind: np.mean(found) for kind, found in right.items()}
    assert share["none"] == 0
    assert share["knowledge"] == share[contexts.cell("lesson", "lesson")] == 1
    assert share[contexts.cell("verbatim", "lesson")] == 1
    assert share["false knowledge"] == share["memory of another rule"] == 0
    assert share[contexts.cell("verbatim", "verbatim")] == 0  # it reads no hands


def test_pretraining_tells_rules_by_names_but_never_the_held_one():
    settings = Pretraining(contexts=0.5, rule_noise=0.0)
    seen, told, texts = set(), set(), 0
    for i in range(12):
        examples = GAME.examples(32, np.random.default_rng(i), settings, talks=False)
        for (prompt,), answer in examples:
            if not prompt:  # the text alone
                told.add(answer.split()[0])
                texts += 1
                continue
            words = prompt.split()
            bare = words[-6:]
            before = words[:-6]
            if not before:
                seen.add(bare[0])
                continue
            assert before[0] == bare[0] != "plain"
            told.add(bare[0])
            if len(before) == 7:
                stated = FaceRule.of(tuple(map(int, before[2::2])))
                assert not (bare[0] == "court" and stated == GAME.ood_rule)
                cards = answer.split()
                if cards[0] == "cards" and "number" in cards:
                    numbers = tuple(map(int, cards[5:8]))
                    assert numbers == stated.values(cards[1:4])
    assert seen == {"plain"}
    assert texts > 0
    assert told == set(RULE_NAMES) - {"plain"}


def test_a_share_of_nothing_draws_nothing_more():
    one, other = (
        PLAIN.examples(8, np.random.default_rng(0), Pretraining(contexts=share), talks=False)
        for share in (0.0, 0.9)
    )
    assert one == other  # of prompts that say their rule


def test_training_deals_under_the_ood_rule_are_posed_in_every_order():
    table = GAME.ood_table()
    assert set(table["rule"]) == {"ood"}
    assert set(table["split"]) == {"train"}
    assert (table["n_faces"] > 0).all()
    assert table["problem_id"].is_unique
    held_out = set(GAME.problem_table().query("split == 'held_out'")["instance_id"])
    assert held_out.isdisjoint(table["instance_id"])
