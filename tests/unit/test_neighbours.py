"""Neighbours of the card game, each claim about them computed again in another way."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import combinations, product

import pytest

from healscope.schema import check
from healscope.tasks import build
from healscope.tasks.cards import neighbours as near
from healscope.tasks.cards.deals import Deal, halve_deals, problem_table, split_deals
from healscope.tasks.cards.game import (
    FACE_11_13,
    FACES,
    RANKS,
    FaceRule,
    compact_vocabulary,
    from_row,
    make_problem,
    prompt,
)
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.verifier import read_answer, verify
from healscope.tasks.schemas import POSED

TARGETS = (6, 8, 9, 10, 12, 14, 15, 16, 18, 20, 21, 24)
COMPACT = GeneralPoints(
    name="gp3", cards=3, targets=TARGETS, rendering="compact", grade_number_line=True
)
JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))
N = 12


@pytest.fixture(scope="module", params=[COMPACT, JSON4], ids=lambda game: game.name)
def game(request):
    return request.param


@pytest.fixture(scope="module")
def tables():
    return {g.name: near.neighbours(g, N, 3) for g in (COMPACT, JSON4)}


@pytest.fixture
def table(game, tables):
    return tables[game.name]


def of(table, kind, distance=None):
    own = table[table["neighbour"] == kind]
    return own if distance is None else own[own["distance"] == distance]


def can_make(target, numbers):
    """Whether all of them do, with + - * / and brackets: two become one, and so on."""
    return Fraction(target) in _reachable(tuple(sorted(map(Fraction, numbers))))


@cache
def _reachable(numbers):
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for i, j in combinations(range(len(numbers)), 2):
        rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
        a, b = numbers[i], numbers[j]
        quotients = [x / y for x, y in ((a, b), (b, a)) if y]
        for value in {a + b, a - b, b - a, a * b, *quotients}:
            found |= _reachable(tuple(sorted((*rest, value))))
    return found


def training_values(game):
    """Multisets of ID values on the training side."""
    sides = split_deals(game).items()
    return {tuple(sorted(game.id_rule.values(d.cards))) for d, side in sides if side == "train"}


def test_every_problem_has_a_solution_by_brute_force(game, table):
    few = table if game is COMPACT else table[table["cards"].map(len) <= 4].iloc[::4]
    assert set(few["neighbour"]) == set(near.KINDS)
    for row in few.to_dict("records"):
        assert can_make(row["target"], row["values"]), row["problem_id"]
    assert (table["n_solutions"] >= 1).all()


def test_reference_answers_are_correct_and_no_other_number_of_cards_is(game, table):
    for row in table.to_dict("records"):
        problem = from_row(row)
        assert verify(game, problem, row["response"]).outcome == "correct"
        answer = read_answer(game, problem, row["response"])
        assert answer.line == problem.values
        for cards in (problem.cards[:-1], (*problem.cards, "A")):
            line = (*problem.values, 1)[: len(cards)]
            other = replace(problem, cards=cards, values=line)
            assert verify(game, other, row["response"]).outcome != "correct"


def test_all_kinds_are_there_at_all_their_distances(game, table):
    found = {kind: tuple(sorted(of(table, kind)["distance"].unique())) for kind in near.KINDS}
    assert found == near.distances(game)
    assert found["training rule"] == (0,)
    assert found["cards"] == (-1, 1)
    assert found["target"] == ((1, 2, 4) if game is COMPACT else (1, 2, 4, 8, 16))
    assert sum(map(len, found.values())) <= near.MOST_LISTS
    short = [8, 16] if game is COMPACT else []  # of words
    assert near.left_out(game, table) == [
        f"task {game.name!r} has no neighbours of kind 'target' at distance {distance}: no target "
        "so far from all trained ones can be written"
        for distance in short
    ]
    sizes = table.groupby(["neighbour", "distance"]).size()
    assert sizes.max() == N
    assert sizes.drop(("target", 2.0)).min() == N


def test_rows_are_held_out_and_hold_a_face_card(game, table):
    trained = training_values(game)
    assert (table["split"] == "held_out").all()
    assert not table["retried"].any()
    assert list(table["draw"]) == list(range(len(table)))
    for row in table.to_dict("records"):
        id_values = tuple(sorted(game.id_rule.values(row["cards"])))
        assert id_values not in trained
        assert row["instance_id"] == f"{'-'.join(map(str, id_values))}>{row['target']}"
        assert row["n_faces"] == sum(card in FACES for card in row["cards"]) > 0


def test_halves_are_those_that_pick_checkpoints(game, table):
    known = problem_table(replace(game, orders=1)).set_index("instance_id")["half"]
    for row in table[table["instance_id"].isin(known.index)].to_dict("records"):
        assert row["half"] == known.loc[[row["instance_id"]]].iloc[0]
    more = halve_deals(replace(game, cards=game.cards + 1))
    for row in of(table, "cards", 1).to_dict("records"):
        assert row["half"] == more[near._deal(row["cards"], row["target"])]
    assert set(table["half"]) == {"a", "b"}


def test_what_differs_from_training_is_the_kind_and_nothing_else(game, table):
    for row in table.to_dict("records"):
        kind, distance = row["neighbour"], row["distance"]
        other_rule = tuple(row["rule_values"]) != game.id_rule.face_values
        assert other_rule == (kind in ("equal rule", "unequal rule"))
        assert row["rule"] == ("ood" if other_rule else "id")
        assert len(row["cards"]) - game.cards == (distance if kind == "cards" else 0)
        nearest = min(abs(row["target"] - t) for t in game.targets)
        assert nearest == (distance if kind == "target" else 0)
        standard = prompt(game, from_row(row))
        assert (row["prompt"] == standard) == (kind != "rendering")


def test_a_hand_differs_from_a_training_hand_in_exactly_one_card(game, table):
    sides = split_deals(game)
    own = of(table, "card exchanged")
    assert (own["distance"] == 1).all()
    hand = own["cards"].map(lambda cards: tuple(sorted(cards)))
    assert not own.assign(hand=hand).duplicated(["hand", "target"]).any()
    for row in own.to_dict("records"):
        hands = [
            (*row["cards"][:place], rank, *row["cards"][place + 1 :])
            for place, rank in product(range(game.cards), RANKS)
        ]
        deals = {Deal(tuple(sorted(h, key=RANKS.index)), row["target"]) for h in hands}
        lent = [
            d
            for d in deals
            if sides[d] == "train" and can_make(d.target, game.id_rule.values(d.cards))
        ]
        assert lent
        assert {(Counter(row["cards"]) - Counter(d.cards)).total() for d in lent} == {1}


def test_rules_are_graded_by_their_values(game, table):
    for kind in ("equal rule", "unequal rule"):
        own = of(table, kind)
        for row in own.to_dict("records"):
            values = row["rule_values"]
            assert row["distance"] == sum(abs(value - 10) for value in values)
            assert (len(set(values)) == 1) == (kind == "equal rule")
            assert row["values"] != list(game.id_rule.values(row["cards"]))
            assert row["problem_id"] == f"{row['pair_id']}:{'-'.join(map(str, values))}"
    unequal = of(table, "unequal rule", 6)["rule_values"].map(tuple)
    assert set(unequal) == {(7, 8, 9), FACE_11_13.face_values}
    assert abs(unequal.value_counts().diff().iloc[-1]) <= 1


def test_an_ood_rule_of_any_values_is_among_the_rules():
    odd = replace(COMPACT, ood_rule=FaceRule(J=2, Q=30, K=7))
    assert 8 + 20 + 3 in near.distances(odd)["unequal rule"]
    own = of(near.neighbours(odd, 3, 0), "unequal rule", 31)
    assert {tuple(v) for v in own["rule_values"]} == {(2, 30, 7)}
    same = replace(COMPACT, ood_rule=COMPACT.id_rule)
    assert 0 not in {*near.distances(same)["equal rule"], *near.distances(same)["unequal rule"]}


def test_renderings_put_the_anchor_s_problems_otherwise(game, table):
    anchor = set(of(table, "training rule")["pair_id"])
    for distance in near.distances(game)["rendering"]:
        own = of(table, "rendering", distance)
        shared = len(set(own["pair_id"]) & anchor) / len(own)
        assert shared == 1 if game is JSON4 else shared > 0.5
        for row in own.to_dict("records"):
            usual = prompt(game, from_row(row))
            if game is COMPACT:
                assert Counter(row["prompt"].split()) == Counter(usual.split())
            else:
                sentences = zip(row["prompt"].split("\n")[1:4], usual.split("\n")[1:4], strict=True)
                assert sum(one != other for one, other in sentences) == distance


def test_compact_renderings_can_be_read_in_one_way(tables):
    """Where target and cards are neighbours, not both ends of them are cards that are numbers."""
    beside = 0
    for row in of(tables["gp3"], "rendering").to_dict("records"):
        words = row["prompt"].split()[:-1]
        start = next(i for i in range(len(words)) if words[i + 1 : i + 6 : 2] == ["10"] * 3)
        around = [part for part in (words[:start], words[start + 6 :]) if part]
        assert len(around) == 2 or not {around[0][0], around[0][-1]} <= set(RANKS[1:10])
        beside += len(around) == 1
    assert beside > 20
    eight = make_problem(COMPACT, ("8", "J", "8"), "id", 8)
    swapped = next(
        r for r in range(36) if prompt(COMPACT, eight, rendering=r).startswith("8 J 8 8 J 10 Q")
    )
    assert not near.one_reading(COMPACT, eight, swapped)
    assert near.one_reading(COMPACT, make_problem(COMPACT, ("8", "J", "8"), "id", 24), swapped)


def test_swaps_are_counted_by_hand():
    problem = make_problem(COMPACT, ("A", "J", "K"), "id", 24)
    found = {
        prompt(COMPACT, problem, rendering=r): near.rendering_distance(COMPACT, r)
        for r in range(36)
    }
    assert found["J 10 Q 10 K 10 24 A J K fD"] == 0
    assert found["24 J 10 Q 10 K 10 A J K fD"] == 1
    assert found["J 10 K 10 Q 10 24 A J K fD"] == 1
    assert found["24 A J K J 10 Q 10 K 10 fD"] == 2
    assert found["A J K 24 J 10 Q 10 K 10 fD"] == 3
    assert found["A J K 24 K 10 Q 10 J 10 fD"] == 6


def test_the_task_poses_them_as_its_schema_says(study):
    task = build("gp3", study.tasks["gp3"])
    protocol = study.evaluation.protocols["near"]
    posed = task.posed(None, protocol)  # of all deals, not of the problem table
    check(posed, POSED)
    assert posed.equals(near.neighbours(task, protocol.per_kind, protocol.seed))
    assert task.read(posed.iloc[-1]).values == tuple(posed["values"].iloc[-1])


def test_equal_seeds_give_equal_tables_and_others_do_not(tables):
    assert near.neighbours(COMPACT, N, 3).equals(tables["gp3"])
    other = near.neighbours(COMPACT, N, 4)
    assert list(other["problem_id"]) != list(tables["gp3"]["problem_id"])


def test_a_longer_table_begins_with_a_shorter_one(tables):
    few, many = near.neighbours(COMPACT, 5, 3), tables["gp3"]
    assert len(few) < len(many)
    assert many.head(len(few)).equals(few)


def test_problems_of_a_kind_depend_on_no_other_kind(tables):
    """A new OOD rule changes the rules that are asked, and no other problem."""
    other = replace(COMPACT, ood_rule=FaceRule(J=4, Q=4, K=4))
    found = near.neighbours(other, N, 3)
    for kind in set(near.KINDS) - {"equal rule", "unequal rule"}:
        one, two = (of(t, kind).drop(columns="draw") for t in (found, tables["gp3"]))
        assert one.reset_index(drop=True).equals(two.reset_index(drop=True)), kind


def test_a_compact_game_says_only_words_of_its_own(tables):
    words = set(compact_vocabulary(COMPACT))
    for row in tables["gp3"].to_dict("records"):
        assert set(row["prompt"].split()) <= words, row["problem_id"]
        assert {str(value) for value in row["values"]} <= words


def test_a_kind_that_cannot_be_is_left_out_and_named(capsys):
    """Every number that has a word is a trained target; no two cards are fewer than two."""
    full = GeneralPoints(name="all", cards=2, targets=tuple(range(1, 14)), rendering="compact")
    table = near.posed(full, 2, 0)
    assert not len(of(table, "target"))
    assert set(of(table, "cards")["distance"]) == {1}
    said = capsys.readouterr().err
    for distance in (1, 2, 4, 8, 16):
        assert f"task 'all' has no neighbours of kind 'target' at distance {distance}: " in said
    assert "kind 'cards' at distance -1: a hand has two cards or more" in said
    with pytest.raises(ValueError, match="per_kind must be at least 1, not 0"):
        near.neighbours(COMPACT, 0, 0)


def test_a_distance_without_a_solvable_hand_is_named():
    far = GeneralPoints(name="far", cards=2, targets=(100,))  # 10 * 10, and nothing else near it
    table = near.neighbours(far, 2, 0)
    said = near.left_out(far, table)
    assert any("'target' at distance 4: no such hand is held out" in line for line in said)
    missing = {(kind, d) for kind, graded in near.distances(far).items() for d in graded} - set(
        zip(table["neighbour"], table["distance"], strict=True)
    )
    assert len(said) == 1 + len(missing) > 1  # and one card


def test_no_hand_of_another_size_was_trained_on():
    """One card fewer: all multisets of two, whatever side three of them are on."""
    fewer = of(near.neighbours(COMPACT, 60, 0), "cards", -1)
    values = {
        (a, b)
        for a, b in product([*range(1, 11), 10, 10, 10], repeat=2)
        if any(can_make(t, (a, b)) for t in TARGETS)
    }
    assert {tuple(sorted(v)) for v in fewer["values"]} == {
        tuple(sorted(v)) for v in values if 10 in v
    }
