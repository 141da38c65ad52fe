"""Problem lists of the evaluation protocols: which rows, and that draws are independent."""

from collections import Counter
from dataclasses import replace

import pytest

from healscope.tasks.cards.deals import PROBLEM_COLUMNS, halve_deals, problem_table, split_deals
from healscope.tasks.cards.game import FACES, RANKS, from_row, make_problem, prompt
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.hands import drawn_hands
from healscope.tasks.cards.solver import solvable
from healscope.tasks.cards.verifier import verify
from healscope.tasks.posing import all_problems

COMPACT = GeneralPoints(name="gp3", cards=3, targets=(8, 12, 16, 18, 20, 24), rendering="compact")
JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))
COLUMNS = (*PROBLEM_COLUMNS, "draw", "retried")


@pytest.fixture(scope="module")
def problems():
    return problem_table(replace(COMPACT, orders=3))


@pytest.fixture(scope="module")
def drawn():
    return {task.name: drawn_hands(task, 234, 1) for task in (COMPACT, JSON4)}


def test_all_problems_are_all_problems(problems):
    found = all_problems(problems)
    assert tuple(found.columns) == COLUMNS
    assert found[list(PROBLEM_COLUMNS)].equals(problems)
    assert list(found["draw"]) == list(range(len(problems)))


@pytest.mark.parametrize("orders", [0, 1, 2])
def test_the_first_orders_of_held_out_face_deals_are_retried(problems, orders):
    found = all_problems(problems, orders)
    assert found["retried"].dtype == bool
    face = (problems["split"] == "held_out") & (problems["n_faces"] > 0)
    assert not found.loc[~face, "retried"].any()
    hand = found["cards"].map(lambda cards: tuple(sorted(cards)))
    for _, deal in found[face].groupby(["instance_id", hand[face]]):
        pairs = list(dict.fromkeys(deal["pair_id"]))
        assert list(deal["retried"]) == [pair in pairs[:orders] for pair in deal["pair_id"]]
        assert len(deal[deal["retried"]]) == 2 * min(orders, len(pairs))


def test_more_orders_are_not_fewer_than_none(problems):
    with pytest.raises(ValueError, match="retried_orders"):
        all_problems(problems, -1)


@pytest.mark.parametrize("task", [COMPACT, JSON4], ids=lambda task: task.name)
def test_drawn_hands_are_solvable_problems(task, drawn):
    hands = drawn[task.name]
    assert tuple(hands.columns) == COLUMNS
    assert list(hands["rule"]) == ["id"] * 234 + ["ood"] * 234
    assert list(hands["draw"]) == [*range(234), *range(234)]
    assert hands["retried"].all()
    split, half = split_deals(task), halve_deals(task)
    for row in hands.to_dict("records"):
        problem = from_row(row)
        assert problem == make_problem(task, row["cards"], row["rule"], row["target"])
        assert row["prompt"] == prompt(task, problem)
        assert verify(task, problem, row["response"]).outcome == "correct"
        assert solvable(problem.values, problem.target)
        deal = tuple(sorted(row["cards"], key=RANKS.index)), row["target"]
        assert (row["split"], row["half"]) == (split[deal], half[deal])
    ood = hands[hands["rule"] == "ood"]
    assert (ood["n_faces"] >= 1).all()
    assert (hands.loc[hands["rule"] == "id", "n_faces"] == 0).any()
    assert set(hands["split"]) == {"train", "held_out"}


def test_a_draw_depends_on_its_number_alone(drawn):
    for task in (COMPACT, JSON4):
        few, many = drawn_hands(task, 50, 1), drawn[task.name]
        for side in ("id", "ood"):
            first = many[many["rule"] == side].head(50).reset_index(drop=True)
            assert few[few["rule"] == side].reset_index(drop=True).equals(first)
    other_split = drawn_hands(replace(COMPACT, held_out=0.2, seed=5), 50, 1)
    assert list(other_split["problem_id"]) == list(drawn_hands(COMPACT, 50, 1).problem_id)
    assert list(drawn_hands(JSON4, 20, 2).problem_id) != list(drawn_hands(JSON4, 20, 1).problem_id)


def test_hands_have_the_published_distribution():
    """Without a condition that cards must meet: every pair of ranks makes one of many targets."""
    task = GeneralPoints(name="gp2", cards=2, targets=(2,))
    free = drawn_hands(task, 1500, 0)
    ordered = Counter(tuple(cards) for cards in free[free["rule"] == "id"]["cards"])
    solutions = [
        (one, other)
        for one in RANKS
        for other in RANKS
        if solvable(task.id_rule.values((one, other)), 2)
    ]
    assert set(ordered) == set(solutions)
    expected = 1500 / len(solutions)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in ordered.values())
    # Under the OOD rule 2 is K - J, Q - 10 and so on: the face that is sure is first or second.
    ood = free[free["rule"] == "ood"]
    mixed = [cards for cards in ood["cards"] if sum(card in FACES for card in cards) == 1]
    assert abs(sum(cards[0] in FACES for cards in mixed) / len(mixed) - 0.5) < 0.1
    targets = Counter(drawn_hands(COMPACT, 300, 3)["target"])
    assert set(targets) == set(COMPACT.targets)
    assert all(abs(n - 100) < 50 for n in targets.values())


def test_repeats_are_kept():
    hands = drawn_hands(GeneralPoints(name="gp2", cards=2, targets=(2,)), 100, 0)
    assert len(hands) == 200
    assert hands["problem_id"].duplicated().any()


def test_no_hands():
    assert len(drawn_hands(COMPACT, 0, 0)) == 0
    assert tuple(drawn_hands(COMPACT, 0, 0).columns) == COLUMNS
    with pytest.raises(ValueError, match="hands must be"):
        drawn_hands(COMPACT, -1, 0)


def test_a_target_without_a_hand_is_named():
    with pytest.raises(ValueError, match="makes 997 under the id rule"):
        drawn_hands(GeneralPoints(name="gp2", cards=2, targets=(2, 997)), 1, 0)
