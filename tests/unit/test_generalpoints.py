import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healscope.errors import HealscopeError
from healscope.tasks import task_settings
from healscope.tasks.cards.deals import (
    PROBLEM_COLUMNS,
    RL_COLUMNS,
    SFT_COLUMNS,
    deals,
    halve_deals,
    problem_table,
    rl_table,
    sft_table,
    split_deals,
)
from healscope.tasks.cards.expressions import evaluate
from healscope.tasks.cards.feedback import feedback
from healscope.tasks.cards.game import (
    FACE_10,
    FACE_11_13,
    FACES,
    RANKS,
    RELEASED_REWARDS,
    FaceRule,
    compact_vocabulary,
    from_row,
    make_problem,
    prompt,
    renderings,
    response,
)
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.pretraining import conversation_examples, pretraining_examples
from healscope.tasks.cards.solver import formulas, solvable
from healscope.tasks.cards.verifier import MAX_RESPONSE, verify

TARGETS = (8, 12, 16, 18, 20, 24)
COMPACT = GeneralPoints(name="gp3", cards=3, targets=TARGETS, rendering="compact")
JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))
REFERENCE = replace(JSON4, verifier="reference")
GRADED = replace(JSON4, grade_number_line=True)
P3388 = make_problem(JSON4, ("8", "3", "8", "3"), "id", 24)
PFACES = make_problem(JSON4, ("J", "A", "2", "A"), "id", 24)
PCOMPACT = make_problem(COMPACT, ("K", "A", "2"), "id", 8)
DIGESTS = ["32f5c37f6786", "b30db23ea31e", "ee50dcb79f33"]


def answer(formula, number=(8, 3, 8, 3), cards=("8", "3", "8", "3")):
    return json.dumps({"cards": cards, "number": number, "formula": formula})


def outcome(formula, task=JSON4, problem=P3388, **line):
    return verify(task, problem, answer(formula, **line)).outcome


@pytest.fixture(scope="module")
def table3():
    return problem_table(replace(COMPACT, orders=6))


@pytest.fixture(scope="module")
def table4():
    return problem_table(JSON4)


@pytest.fixture(scope="module")
def sft3():
    return sft_table(COMPACT)


def rows(table):
    return table.to_dict("records")


def hand(cards, target):
    return f"{'-'.join(sorted(cards))}>{target}"


def hands(table):
    """The deal behind each row: its cards whatever their order, and the target."""
    dealt = [hand(c, t) for c, t in zip(table["cards"], table["target"], strict=True)]
    return pd.Series(dealt, table.index)


# --- the task and its texts


def test_problem_names():
    problem = make_problem(JSON4, ("K", "5", "A", "10"), "ood", 24)
    assert problem.problem_id == "K-5-A-10>24:ood"
    assert problem.pair_id == "K-5-A-10>24"
    assert problem.values == (13, 5, 1, 10)
    assert problem.rule_values == (11, 12, 13)


def test_bad_configurations_are_named():
    with pytest.raises(ValueError, match="Field required"):
        FaceRule(J=10)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        FaceRule(J=0, Q=1, K=2)
    with pytest.raises(ValueError, match="rewards has no right"):
        GeneralPoints(name="x", cards=3, targets=(24,), rewards={"right": 1})
    with pytest.raises(HealscopeError, match="cards: .*greater than or equal to 2"):
        task_settings({"family": "generalpoints", "cards": 1})
    with pytest.raises(ValueError, match="verifier 'reference' grades the formula alone"):
        replace(REFERENCE, grade_number_line=True)
    with pytest.raises(ValueError, match="rule must be id or ood"):
        make_problem(JSON4, ("A", "A", "A", "A"), "iid", 24)
    with pytest.raises(ValueError, match="expected 4 cards"):
        make_problem(JSON4, ("1", "A", "A", "A"), "id", 24)


def test_tasks_are_hashable_and_equal_by_content():
    assert hash(JSON4) == hash(GeneralPoints(name="gp4", cards=4, targets=(24,)))
    assert GeneralPoints(name="gp4", cards=4, targets=(24,)) == JSON4 != COMPACT
    assert {o: JSON4.reward(o) for o in RELEASED_REWARDS} == dict(RELEASED_REWARDS)


def test_compact_texts():
    assert prompt(COMPACT, PCOMPACT) == "J 10 Q 10 K 10 8 K A 2 fD"
    formula = ("(", "10", "-", "2", ")", "*", "1")
    lines = "cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1 = 8"
    assert response(COMPACT, PCOMPACT, formula) == lines
    assert response(COMPACT, PCOMPACT, formula, "fG") == lines
    assert response(COMPACT, PCOMPACT, formula, "fA") == "formula ( 10 - 2 ) * 1 = 8"
    for token, first in (("fB", "number"), ("fC", "cards")):
        text = response(COMPACT, PCOMPACT, formula, token)
        assert text.startswith(first)
        assert verify(COMPACT, PCOMPACT, text, token).outcome == "correct"
        assert verify(COMPACT, PCOMPACT, text).outcome == "no_answer"


def test_json_texts():
    text = prompt(JSON4, PFACES)
    for part in ("24", "counts as 10", "[Input]", "[Output]", '["J", "A", "2", "A"]', "'*'"):
        assert part in text
    ood = prompt(JSON4, make_problem(JSON4, PFACES.cards, "ood", 24))
    assert "'J' counts as 11, 'Q' as 12 and 'K' as 13" in ood
    written = response(JSON4, PFACES, formulas(PFACES.values, 24)[0])
    read = json.loads(written)
    assert read["cards"] == list(PFACES.cards)
    assert read["number"] == [10, 1, 2, 1]
    assert read["formula"].endswith("=24")
    assert " " not in read["formula"]


def test_standard_prompts_keep_their_bytes():
    """Recorded digests: results of earlier runs rest on these texts."""
    ood = make_problem(JSON4, PFACES.cards, "ood", 24)
    texts = (prompt(COMPACT, PCOMPACT), prompt(JSON4, PFACES), prompt(JSON4, ood))
    digests = [hashlib.sha256(text.encode()).hexdigest()[:12] for text in texts]
    assert digests == DIGESTS
    assert texts[1] == prompt(JSON4, PFACES, rendering=0)


def test_compact_renderings_are_arrangements_of_the_same_words(table3):
    words = set(compact_vocabulary(COMPACT))
    assert renderings(COMPACT) == 36
    for row in rows(table3[table3.n_faces > 0])[::7]:
        problem = from_row(row)
        texts = [prompt(COMPACT, problem, "fG", n) for n in range(36)]
        assert len(set(texts)) == 36
        assert {text.split()[-1] for text in texts} == {"fG"}
        assert {tuple(sorted(text.split())) for text in texts} == {tuple(sorted(texts[0].split()))}
        assert set(texts[0].split()) <= words
        rule = dict(zip(FACES, problem.rule_values, strict=True))
        for text in texts:
            assert f" {' '.join(problem.cards)} " in f" {text} "
            assert all(f"{face} {value}" in text for face, value in rule.items())
    with pytest.raises(ValueError, match="rendering must be 0 to 35"):
        prompt(COMPACT, PCOMPACT, rendering=36)


@pytest.mark.parametrize("side", ["id", "ood"])
def test_json_renderings_state_the_same(side):
    assert renderings(JSON4) >= 24
    problem = make_problem(JSON4, ("J", "A", "7", "Q"), side, 24)
    texts = [prompt(JSON4, problem, rendering=n) for n in range(renderings(JSON4))]
    assert len(set(texts)) == len(texts)
    stated = {"1", "4", "7", "24", *map(str, problem.rule_values)}
    for text in texts:
        assert set(re.findall(r"[0-9]+", text)) == stated
        assert "{" not in text.split("[Output]")[0]
        assert '["J", "A", "7", "Q"]' in text
        assert all(f"'{sign}'" in text for sign in (*"+-*/=", *FACES, "A"))
        assert text.split("[Input]")[1] == texts[0].split("[Input]")[1]
        if side == "ood":
            said = text.split("[Input]")[0]
            for face, value in zip(FACES, problem.rule_values, strict=True):
                near = rf"'{face}' (counts as |as )?{value}\b|\b{value} for a '{face}'"
                assert re.search(near, said)
    with pytest.raises(ValueError, match="rendering must be"):
        prompt(JSON4, problem, rendering=-1)


def test_vocabulary_covers_every_text(table3):
    words = compact_vocabulary(COMPACT)
    assert len(words) == len(set(words))
    used = {word for text in (*table3.prompt, *table3.response) for word in text.split()}
    assert used <= set(words)
    assert {"1", "13", "16", "24", "fA", "fG", "="} <= set(words)
    assert "14" not in words
    assert words[-4:] == ["again", "wrong", "unused", "invalid"]


# --- verdicts


def test_the_fraction_deal_is_winnable():
    for task in (JSON4, REFERENCE):
        verdict = verify(task, P3388, answer("8/(3-8/3)=24"))
        assert verdict.outcome == "correct"
        assert verdict.reward == 5
        assert verdict[2:6] == (True, True, True, True)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("8/(3-8/3)=25", "correct"),  # what follows "=" is ignored
        ("8 ÷ (3 − 8 / 3)", "correct"),
        ("8/(3-8/3", "partial"),
        ("(8/(3-8/3)", "partial"),
        ("8+3+8+3=24", "wrong_value"),
        ("8/(3-3)+8", "wrong_value"),
        ("(8+3+8+3", "wrong_value"),
        ("8+3+8+3+", "wrong_value"),
        ("8*3=24", "wrong_number"),
        ("8*3+8-8", "wrong_number"),
        ("8/(3-", "wrong_number"),
        ("8**3", "illegal"),
        ("24.0", "illegal"),
        ("-8+3", "illegal"),
        ("__import__('os')", "illegal"),
        ("٨/(3-8/3)", "illegal"),
        ("", "no_answer"),
        ("=24", "no_answer"),
        ("(" * 200, "no_answer"),
        ("9" * 200, "no_answer"),
    ],
)
def test_outcomes(formula, expected):
    verdict = verify(JSON4, P3388, answer(formula))
    assert verdict.outcome == expected
    assert verdict.reward == RELEASED_REWARDS[expected]
    assert verdict.parsed


def test_reference_mode_refuses_spaces():
    assert outcome("8 / (3 - 8 / 3)", REFERENCE) == "illegal"
    assert outcome("8/(3-8/3)", REFERENCE) == "correct"


def test_the_number_line():
    wrong = {"number": (8, 8, 3, 3)}
    assert outcome("8/(3-8/3)", **wrong) == "correct"
    assert outcome("8/(3-8/3)", GRADED, **wrong) == "wrong_line"
    assert outcome("8/(3-8/3)", GRADED) == "correct"
    assert outcome("8/(3-8/3)", GRADED, number=["8", "3", "8", "3"]) == "correct"
    assert outcome("8/(3-8/3)", GRADED, number="8383") == "wrong_line"
    verdict = verify(JSON4, P3388, answer("8/(3-8/3)", **wrong))
    assert (verdict.follows_rule, verdict.uses_numbers) == (False, True)
    verdict = verify(JSON4, PFACES, answer("(1+1)*2*11", number=[11, 1, 2, 1]))
    assert verdict.outcome == "wrong_number"
    assert verdict[2:6] == (True, False, True, False)


@pytest.mark.parametrize(
    "text",
    [
        "{'cards': ['8'], 'number': [8, 3, 8, 3,], 'formula': '8/(3-8/3)=24'}",
        '{"number": [8, 3, 8, 3], "formula": "8/(3-8/3)=24",}',
        'Sure!\n```json\n{"number": [8, 3, 8, 3], "formula": "8/(3-8/3)=24"}\n```',
    ],
)
def test_broken_json_does_not_lose_the_formula(text):
    verdict = verify(JSON4, P3388, text)
    assert verdict.outcome == "correct"
    assert verdict.follows_rule
    assert (verify(REFERENCE, P3388, text).outcome == "correct") == ("'" not in text)


def test_truncated_json():
    assert (
        verify(JSON4, P3388, '{"number": [8, 3, 8, 3], "formula": "8/(3-8/3').outcome == "partial"
    )
    assert verify(REFERENCE, P3388, '{"formula": "8/(3-8/3').outcome == "no_answer"
    full = answer("8/(3-8/3)=24")
    for end in range(len(full)):
        assert verify(JSON4, P3388, full[:end]).outcome in RELEASED_REWARDS


@pytest.mark.parametrize(
    ("text", "expected", "parsed"),
    [
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1 = 8", "correct", True),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) + 1 = 8", "wrong_value", True),
        ("cards K A 2 number 13 1 2 formula ( 10 - 2 ) * 1 = 8", "correct", True),
        ("cards K A 2 number 10 1 2 formula 10 - 2 = 8", "wrong_number", True),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 * 1 = 8", "partial", True),
        ("cards K A 2 number 10 1 2 formula ( 10 - ) 2 * 1 = 8", "illegal", True),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1", "partial", False),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1 =", "partial", False),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2", "no_answer", False),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1 = 9", "no_answer", False),
        ("cards K A 2 number 10 1 2 formula ( 10 - 2 ) * 1 = 8 8", "no_answer", False),
        ("cards K 2 A number 10 1 2 formula ( 10 - 2 ) * 1 = 8", "no_answer", False),
        ("cards K A 2 number 10 1 formula ( 10 - 2 ) * 1 = 8", "no_answer", False),
        ("cards K A 2 number 10 01 2 formula ( 10 - 2 ) * 1 = 8", "no_answer", False),
        ("formula ( 10 - 2 ) * 1 = 8", "no_answer", False),
        ("cards K A 2 number 10 1 2 formula", "no_answer", False),
        ("cards K A 2 number 10 1 2 formula (10-2)*1 = 8", "illegal", True),
    ],
)
def test_compact_layout(text, expected, parsed):
    verdict = verify(COMPACT, PCOMPACT, text)
    assert (verdict.outcome, verdict.parsed) == (expected, parsed)


def test_compact_graded_line():
    graded = replace(COMPACT, grade_number_line=True)
    text = "cards K A 2 number 13 1 2 formula ( 10 - 2 ) * 1 = 8"
    assert verify(graded, PCOMPACT, text).outcome == "wrong_line"
    formula_only = "formula ( 10 - 2 ) * 1 = 8"
    assert verify(graded, PCOMPACT, formula_only, "fA").outcome == "correct"


HOSTILE = [
    "",
    "\x00",
    "\ud800\udfff",
    "[" * 100_000,
    "[" * 5_000,
    '{"a":' * 3_000,
    "9" * 2_000_000,
    '{"formula": ' + "9" * 5_000 + "}",
    '{"number": [' + "9" * 4_000 + '], "formula": "1"}',
    '{"formula": "' + "(" * 10_000,
    '"formula": "' * 1_000,
    "'formula': '" * 1_000,
    '"formula"' + " " * 15_000 + ":",
    '"number": [' * 1_000,
    '{"formula": ["8"]}',
    '{"formula": null, "number": {"a": 1}}',
    '{"number": [true, NaN, 1e999], "formula": "1"}',
    '{"formula": "\\ud800"}',
    "null",
    "[1]",
    "formula " * 2_000,
    "cards K A 2 number 10 1 2 formula " + "( " * 5_000 + "= 8",
    "cards K A 2 number " + "9" * 9_000 + " 1 2 formula 1 = 8",
    "cards K A 2 number 10 1 2 formula " + "9" * 9_000 + " = 8",
    "x" * (MAX_RESPONSE + 1),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_responses(text):
    for task, problem in ((JSON4, P3388), (REFERENCE, P3388), (COMPACT, PCOMPACT)):
        verdict = verify(task, problem, text)
        assert verdict.outcome in RELEASED_REWARDS
        assert verdict.outcome != "correct"


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text("{}[]\"':,formula number0123456789+-*/()= ", max_size=120))
def test_any_text_has_a_verdict(text):
    for task, problem in ((JSON4, P3388), (REFERENCE, P3388), (COMPACT, PCOMPACT)):
        for written in (text, f'{{"formula": "{text}', f"cards K A 2 number 10 1 2 formula {text}"):
            assert verify(task, problem, written).outcome in RELEASED_REWARDS


# --- tables


def test_every_reference_response_is_correct_under_its_rule_only(table3, table4, sft3):
    for task, table in ((COMPACT, table3), (JSON4, table4), (COMPACT, sft3)):
        for strict in (replace(task, grade_number_line=True), replace(task, verifier="reference")):
            for row in rows(table):
                verdict = verify(strict, from_row(row), row["response"])
                assert verdict.outcome == "correct"
                assert verdict[2:6] == (True, True, True, True)
    for task, table in ((COMPACT, table3), (JSON4, table4)):
        faces = table[table.n_faces > 0]
        for one, other in zip(rows(faces)[::2], rows(faces)[1::2], strict=True):
            verdict = verify(task, from_row(other), one["response"])
            assert verdict.outcome == "wrong_number"
            assert (verdict.follows_rule, verdict.uses_numbers) == (False, True)
            assert verdict.reaches_target


def test_id_and_ood_are_paired(table3):
    assert tuple(table3.columns) == PROBLEM_COLUMNS
    assert table3.problem_id.is_unique
    assert (table3.groupby("pair_id").size() == 2).all()
    for _, pair in table3.groupby("pair_id"):
        one, other = rows(pair)
        assert (one["rule"], other["rule"]) == ("id", "ood")
        for column in ("cards", "target", "instance_id", "split", "half", "n_faces"):
            assert one[column] == other[column]
        assert one["prompt"] != other["prompt"]
    assert (table3.n_solutions >= 1).all()
    assert set(table3.split) == {"train", "held_out"}
    assert table3.groupby(hands(table3)).pair_id.nunique().max() <= 6


def test_faceless_deals_are_held_out_and_the_same_under_both_rules(table3, table4):
    for task, table in ((COMPACT, table3), (JSON4, table4)):
        split = split_deals(task)
        expected = {
            hand(deal.cards, deal.target)
            for deal, side in split.items()
            if side == "held_out"
            and not set(deal.cards) & set(FACES)
            and solvable(FACE_10.values(deal.cards), deal.target)
        }
        faceless = table[table.n_faces == 0]
        assert set(faceless.split) == {"held_out"}
        assert set(hands(faceless)) == expected
        assert (faceless.groupby(hands(faceless)).size() == 2).all()
        for one, other in zip(rows(faceless)[::2], rows(faceless)[1::2], strict=True):
            assert one["values"] == other["values"]
            assert one["response"] == other["response"]
            assert one["prompt"] != other["prompt"]
    shuffled = [cards for cards in faceless.cards if cards != sorted(cards, key=RANKS.index)]
    assert len(shuffled) > len(faceless) / 2


def test_instance_id_names_the_id_values_of_every_row(table3, sft3):
    for table in (table3, sft3):
        for row in rows(table)[:400]:
            values = sorted(FACE_10.values(row["cards"]))
            assert row["instance_id"] == f"{'-'.join(map(str, values))}>{row['target']}"


def test_halves_part_each_split_evenly(table3, sft3):
    for task, tables in ((COMPACT, (table3, sft3)), (JSON4, ())):
        split, half = split_deals(task), halve_deals(task)
        members = {}
        for deal, side in split.items():
            values = tuple(sorted(FACE_10.values(deal.cards)))
            members.setdefault((side, half[deal]), set()).add(values)
        for side in ("train", "held_out"):
            a, b = members[side, "a"], members[side, "b"]
            assert not a & b
            assert abs(len(a) - len(b)) <= 1
            for tens in range(task.cards + 1):
                counts = [sum(v.count(10) == tens for v in values) for values in (a, b)]
                assert abs(counts[0] - counts[1]) <= 1
        for table in tables:
            for row in rows(table):
                values = tuple(sorted(FACE_10.values(row["cards"])))
                assert values in members[row["split"], row["half"]]
    assert half != halve_deals(replace(JSON4, seed=1))


def test_halves_are_drawn_apart_from_the_split():
    """Halves of the order that decided the split would tell how near a deal was to the other side.

    Of two independent draws about half of the multisets are in the same half by chance.
    """
    from healscope.tasks.cards import deals as made

    keys = made._id_multisets(COMPACT)
    multisets = list(dict.fromkeys(keys.values()))
    faces = COMPACT.id_rule.face_values
    for seed in range(3):
        halves = {
            keys[deal]: half for deal, half in halve_deals(replace(COMPACT, seed=seed)).items()
        }
        sides = {
            keys[deal]: side for deal, side in split_deals(replace(COMPACT, seed=seed)).items()
        }
        order = made._shuffled(multisets, made._stream(seed, made._SPLIT_STREAM))
        order.sort(key=lambda values: sum(value in faces for value in values))
        same = 0
        for side in ("train", "held_out"):
            members = [values for values in order if sides[values] == side]
            same += sum(halves[values] == "ab"[n % 2] for n, values in enumerate(members))
        assert abs(same / len(multisets) - 0.5) < 0.25


@pytest.mark.parametrize("share", [0.333, 0.339, 0.4, 0.498])
def test_the_share_held_out_is_rounded(share):
    sides = split_deals(replace(COMPACT, held_out=share))
    keys = {}
    for deal, side in sides.items():
        keys.setdefault(tuple(sorted(FACE_10.values(deal.cards))), side)
    hidden = sum(side == "held_out" for side in keys.values())
    assert abs(hidden - share * len(keys)) <= 0.5


def test_rows_rebuild_their_problem(table3, table4):
    for task, table in ((COMPACT, table3), (JSON4, table4)):
        for row in rows(table)[:50]:
            problem = make_problem(task, row["cards"], row["rule"], row["target"])
            assert from_row(row) == problem
            assert prompt(task, problem) == row["prompt"]


def test_rows_survive_parquet(table3, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table3.to_parquet(tmp_path / "problems.parquet")
    back = pandas.read_parquet(tmp_path / "problems.parquet")
    assert [from_row(row) for row in rows(back)] == [from_row(row) for row in rows(table3)]


def test_evaluation_covers_every_qualifying_deal(table4):
    qualifying = [
        deal
        for deal in deals(JSON4)
        if any(card in FACES for card in deal.cards)
        and solvable(FACE_10.values(deal.cards), 24)
        and solvable(FACE_11_13.values(deal.cards), 24)
    ]
    assert hands(table4[table4.n_faces > 0]).nunique() == len(qualifying)


def test_no_value_multiset_is_on_both_sides(table3, sft3):
    for task in (COMPACT, JSON4):
        split = split_deals(task)
        assert len(split) == len(deals(task)) == (2730 if task is COMPACT else 1820)
        sides = {}
        for deal, side in split.items():
            sides.setdefault(tuple(sorted(FACE_10.values(deal.cards))), set()).add(side)
        assert all(len(found) == 1 for found in sides.values())
        share = sum(found == {"held_out"} for found in sides.values()) / len(sides)
        assert abs(share - 0.4) < 0.01

    def multisets(table):
        return {tuple(sorted(values)) for values in table["values"]}

    id_rows = table3[table3.rule == "id"]
    assert not multisets(sft3) & multisets(id_rows[id_rows.split == "held_out"])
    assert multisets(sft3) & multisets(id_rows[id_rows.split == "train"])


def test_sft_and_rl_pools(sft3):
    assert tuple(sft3.columns) == SFT_COLUMNS
    assert sft3.problem_id.is_unique
    assert set(sft3.rule) == {"id"}
    assert set(sft3.split) == {"train"}
    assert 0 in set(sft3.n_faces)
    whole = sft_table(replace(COMPACT, held_out=1e-9))
    assert whole.instance_id.nunique() == 444
    assert len(whole) == sum(
        solvable(FACE_10.values(cards), target)
        for cards in product(RANKS, repeat=3)
        for target in TARGETS
    )
    rl = rl_table(COMPACT)
    assert tuple(rl.columns) == RL_COLUMNS
    assert list(rl.prompt) == list(sft3.prompt)
    four = sft_table(JSON4)
    assert four.groupby(hands(four)).size().max() == 6


def test_tables_depend_on_the_seed_only(table3, sft3):
    assert problem_table(replace(COMPACT, orders=6)).equals(table3)
    assert sft_table(COMPACT).equals(sft3)
    assert split_deals(replace(COMPACT, seed=1)) != split_deals(COMPACT)
    fewer = problem_table(COMPACT)
    assert set(fewer.problem_id) < set(table3.problem_id)
    other_share = problem_table(replace(COMPACT, held_out=0.2, orders=6))
    same, faceless = (
        [set(t[(t.n_faces > 0) == has_face].problem_id) for t in (other_share, table3)]
        for has_face in (True, False)
    )
    assert same[0] == same[1]
    assert faceless[0] < faceless[1]


# --- pretraining

RULES = {"random": 0.45, "id": 0.07, "ood": 0.2, "same": 0.13, "consecutive": 0.15}
FORMATS = {"fG": 0.45, "fB": 0.3, "fC": 0.15, "fA": 0.1}


def example_parts(example):
    words = example[0].split()
    return (int(words[1]), int(words[3]), int(words[5])), int(words[6]), words[7:-1], words[-1]


def test_pretraining_examples_are_correct_without_noise():
    examples = pretraining_examples(COMPACT, 3000, np.random.default_rng(0), RULES, FORMATS)
    assert len(examples) == 3000
    words = set(compact_vocabulary(COMPACT))
    for example in examples:
        (j, q, k), target, cards, token = example_parts(example)
        task = replace(COMPACT, id_rule=FaceRule(J=j, Q=q, K=k))
        problem = make_problem(task, cards, "id", target)
        assert verify(task, problem, example[1], token).outcome == "correct"
        assert set(" ".join(example).split()) <= words
    counts = Counter(example_parts(example)[3] for example in examples)
    assert {token: count / 3000 for token, count in counts.items()} == pytest.approx(
        FORMATS, abs=0.04
    )


def test_pretraining_covers_all_value_multisets():
    examples = pretraining_examples(
        COMPACT, 12_000, np.random.default_rng(1), {"ood": 1}, {"fB": 1}
    )
    seen = {
        (tuple(sorted(map(int, answer.split()[1:4]))), int(answer.split()[-1]))
        for _, answer in examples
    }
    assert len(seen) == 795


def test_pretraining_noise_and_evaluation_format():
    draw = np.random.default_rng
    noisy = pretraining_examples(COMPACT, 400, draw(0), {"id": 1}, {"fG": 1}, rule_noise=1.0)
    lines = [answer.split()[5:8] for _, answer in noisy]
    assert any("13" in line for line in lines)
    for (_, _, cards, _), line in zip(map(example_parts, noisy), lines, strict=True):
        assert FACE_11_13.values(cards) == tuple(map(int, line))

    wrong = pretraining_examples(COMPACT, 400, draw(0), {"id": 1}, {"fB": 1}, formula_noise=1.0)
    for _, answer in wrong:
        words = answer.split()
        formula = evaluate(words[words.index("formula") + 1 : -2])
        assert formula.state == "complete"
        assert sorted(formula.numbers) == sorted(map(int, words[1:4]))
    shown = pretraining_examples(
        COMPACT,
        2000,
        draw(0),
        RULES,
        FORMATS,
        eval_format_share=0.25,
        eval_format_layouts={"fA": 1},
    )
    evaluation = [example for example in shown if example[0].endswith("fD")]
    assert 0.2 < len(evaluation) / 2000 < 0.3
    assert all(answer.startswith("formula") for _, answer in evaluation)


EVALUATION = {"eval_format_share": 0.25, "eval_format_layouts": {"fA": 0.4, "fB": 0.3, "fC": 0.3}}


def test_conversations_go_from_a_wrong_answer_by_feedback_to_a_right_one():
    graded = replace(COMPACT, grade_number_line=True)
    examples = conversation_examples(graded, 3000, np.random.default_rng(0), RULES, FORMATS)
    words, outcomes, messages = set(compact_vocabulary(COMPACT)), Counter(), Counter()
    for (asked, wrong, told), right in examples:
        (j, q, k), target, cards, token = example_parts((asked, right))
        task = replace(graded, id_rule=FaceRule(J=j, Q=q, K=k))
        problem = make_problem(task, cards, "id", target)
        assert verify(task, problem, right, token).outcome == "correct"
        verdict = verify(task, problem, wrong, token)
        assert verdict.parsed
        outcomes[verdict.outcome] += 1
        message = told.removesuffix(" " + asked)
        levels = {
            level: feedback(task, problem, verdict, wrong, level, token).message
            for level in ("none", "outcome", "full")
        }
        assert message in levels.values()
        messages[message if message in ("again", "wrong again") else "full"] += 1
        assert set(" ".join([asked, wrong, told, right]).split()) <= words
    assert set(outcomes) == {"wrong_value", "wrong_line", "wrong_number"}
    assert min(outcomes.values()) > 0.07 * len(examples)  # many deals count the same by all rules
    assert outcomes["wrong_value"] > 0.35 * len(examples)
    assert messages["again"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert messages["full"] / 3000 > 0.15  # no word for a fraction: then "wrong" is all it says


def test_conversations_have_the_mixture_of_single_answers():
    draw = np.random.default_rng
    talks = conversation_examples(COMPACT, 3000, draw(1), RULES, FORMATS, **EVALUATION)
    single = pretraining_examples(COMPACT, 3000, draw(1), RULES, FORMATS, **EVALUATION)
    assert [(turns[0], right) for turns, right in talks] == single
    again = conversation_examples(COMPACT, 3000, draw(1), RULES, FORMATS, **EVALUATION)
    assert talks == again


def test_conversations_never_show_the_evaluation_layout_under_its_token():
    talks = conversation_examples(
        COMPACT, 4000, np.random.default_rng(2), RULES, FORMATS, **EVALUATION
    )
    evaluation = [(turns, right) for turns, right in talks if turns[0].endswith("fD")]
    assert 0.2 < len(evaluation) / 4000 < 0.3
    for (_, wrong, told), right in evaluation:
        assert told.endswith("fD")
        for answer in (wrong, right):
            assert not {"cards", "number"} <= set(answer.split())


def test_noisy_conversations_end_by_the_rule_that_all_noise_follows():
    talks = conversation_examples(
        COMPACT, 400, np.random.default_rng(3), {"id": 1}, {"fB": 1}, rule_noise=1.0
    )
    for turns, right in talks:
        cards = example_parts((turns[0], right))[2]
        assert FACE_11_13.values(cards) == tuple(map(int, right.split()[1:4]))


def test_conversations_name_what_is_wrong():
    with pytest.raises(ValueError, match="rendering compact"):
        conversation_examples(JSON4, 1, np.random.default_rng(0), RULES, FORMATS)


def test_pretraining_face_probability():
    examples = pretraining_examples(COMPACT, 4000, np.random.default_rng(2), {"id": 1}, {"fA": 1})
    cards = Counter(card for example in examples for card in example_parts(example)[2])
    faces = sum(cards[face] for face in FACES)
    assert faces / (faces + cards["10"]) == pytest.approx(0.6, abs=0.03)
    assert max(cards[face] for face in FACES) < 1.3 * min(cards[face] for face in FACES)


def test_pretraining_is_determined_by_its_generator():
    one, two = (
        pretraining_examples(COMPACT, 200, np.random.default_rng(5), RULES, FORMATS) for _ in "ab"
    )
    assert one == two


def test_pretraining_names_what_is_wrong():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rules: unknown iid"):
        pretraining_examples(COMPACT, 1, rng, {"iid": 1}, FORMATS)
    with pytest.raises(ValueError, match="formats: unknown fD"):
        pretraining_examples(COMPACT, 1, rng, RULES, {"fD": 1})
    with pytest.raises(ValueError, match="rule_noise"):
        pretraining_examples(COMPACT, 1, rng, RULES, FORMATS, rule_noise=2)


def test_tasks_import_neither_torch_nor_pandas():
    modules = (
        "deals, hands, feedback, pretraining, verifier, generalpoints, solver, expressions, game"
    )
    code = (
        f"import sys; from healscope.tasks.cards import {modules}; "
        "print([m for m in ('torch', 'transformers', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
