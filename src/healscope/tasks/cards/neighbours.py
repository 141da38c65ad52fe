"""Neighbours of the trained card game: problems that differ from training in one thing only.

The OOD rule is one such difference. What SFT forgets and RL heals may be that rule, or whatever is
not exactly what was trained; problems at known distances from training tell them apart. All of them
are solved exactly, hold a face card, and none is on the training side of the hold-out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import combinations, islice, permutations, zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from healscope.tasks.cards import json_texts
from healscope.tasks.cards.deals import (
    PROBLEM_COLUMNS,
    SFT_COLUMNS,
    Deal,
    count_faces,
    halve_deals,
    problem_frame,
    problem_row,
    split_deals,
    trained_values,
)
from healscope.tasks.cards.game import (
    ARRANGEMENTS,
    FACES,
    RANKS,
    CardProblem,
    FaceRule,
    Game,
    compact_vocabulary,
    make_problem,
    prompt,
    renderings,
)
from healscope.tasks.cards.solver import solvable
from healscope.tasks.problem import Half, Side, Split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

KINDS = MappingProxyType(
    {
        "training rule": "0: nothing differs but that the hands are held out",
        "cards": "cards more than in training; below 0, fewer",
        "target": "from the target to the nearest trained one",
        "card exchanged": "cards exchanged in a hand of the training side",
        "equal rule": "|value - trained value| summed over J, Q and K, which count alike",
        "unequal rule": "the same sum, where J, Q and K count differently",
        "rendering": "parts of the prompt put otherwise: sentences (json), or swaps (compact)",
    }
)
"""Kind of neighbour -> what its distance counts."""
ANCHOR = "training rule"


def order(kind: str) -> int:
    """Return where a kind stands in tables and figures; those of other tasks come last."""
    return [*KINDS, kind].index(kind)


COLUMNS = (*PROBLEM_COLUMNS, "draw", "retried", "neighbour", "distance")

_TARGET_DISTANCES = (1, 2, 4, 8, 16)
_MOST_DISTANCES = 5  # of a kind that has more
_MOST_FACE = 13  # the largest value of a face card in pretraining, too
MOST_LISTS = 4 + len(_TARGET_DISTANCES) + 3 * _MOST_DISTANCES + 1
"""Kinds with their distances, at most: 1 + 2 + 1 that are fixed, targets, rules and renderings."""
_NEIGHBOUR_STREAM = 8  # the other streams are in `problems`, `hands` and `neutral`


class Neighbour(NamedTuple):
    """A problem, its game, and the number of its rendering."""

    game: Game
    problem: CardProblem
    rendering: int = 0


def neighbours(game: Game, per_kind: int, seed: int) -> pd.DataFrame:
    """Make a table of `per_kind` problems of each of KINDS at each of its `distances`.

    Columns are COLUMNS: those of `problems.problem_table`, `draw`, which numbers the rows,
    `retried`, which is False, and the kind and distance of the neighbour. `rule` is "ood" under
    every rule but that of training. Problems of one kind and distance depend on no other. Kinds
    and distances take turns, so that a longer table begins with a shorter one. What has no problem
    is left out (`left_out` says why). Raises ValueError if per_kind < 1.
    """
    if per_kind < 1:
        raise ValueError(f"per_kind must be at least 1, not {per_kind}")
    lists = []
    for kind, graded in distances(game).items():
        for distance in graded:
            found = list(islice(_MAKERS[kind](game, distance, seed), per_kind))
            lists.append(_rows(found, neighbour=kind, distance=distance))
    rows = list(_in_turns(lists))
    table = problem_frame(rows, (*PROBLEM_COLUMNS, "neighbour", "distance"))
    return table.assign(draw=range(len(table)), retried=False)[list(COLUMNS)]


def posed(game: Game, per_kind: int, seed: int) -> pd.DataFrame:
    """Return `neighbours`, and print a line for each of `left_out` on standard error."""
    table = neighbours(game, per_kind, seed)
    for sentence in left_out(game, table):
        print(f"healscope: {sentence}", file=sys.stderr)
    return table


WITHOUT_ONE = "without one"
"""Kind of the problems of `without_one` that have a card less, at distance -1."""


def without_one(game: Game, pairs: int, seed: int) -> pd.DataFrame:
    """Make a table of at most `pairs` held-out hands, each whole and with one card less.

    Columns are those of `neighbours`. A hand (kind ANCHOR, distance 0), with a face card or
    without, is followed by one drawn evenly among those that are left of it and still make the
    target (kind WITHOUT_ONE), in the same order. Both have the hand's `instance_id` and `half`, so
    that they are resampled together. Hands of which nothing makes the target are left out. Raises
    ValueError on a game of two cards, of which one would be left.
    """
    if game.cards < 3:
        raise ValueError(f"task {game.name!r}: a hand of {game.cards} cards has none to spare")
    rng, smaller = _stream(seed, ANCHOR, 1), replace(game, cards=game.cards - 1)
    parts = []
    for whole in _hidden(game, rng, faces=0):
        cards = whole.problem.cards
        hands = sorted({cards[:i] + cards[i + 1 :] for i in range(len(cards))})
        target = whole.problem.target
        left = [hand for hand in hands if solvable(game.id_rule.values(hand), target)]
        if left:
            hand = left[int(rng.integers(len(left)))]
            less = Neighbour(smaller, make_problem(smaller, hand, "id", target))
            parts += [(whole, less)]
        if len(parts) == pairs:
            break
    rows = _rows([whole for whole, _ in parts], neighbour=ANCHOR, distance=0)
    fewer = _rows([less for _, less in parts], neighbour=WITHOUT_ONE, distance=-1)
    for row, less in zip(rows, fewer, strict=True):
        less |= {key: row[key] for key in ("instance_id", "half")}
        less["problem_id"] = f"{row['pair_id']}-less:{less['problem_id']}"
    table = problem_frame(
        [row for pair in zip(rows, fewer, strict=True) for row in pair],
        (*PROBLEM_COLUMNS, "neighbour", "distance"),
    )
    return table.assign(draw=range(len(table)), retried=False)[list(COLUMNS)]


def less_table(game: Game) -> pd.DataFrame:
    """Make a pool of SFT examples: every hand that is left of a training hand with one card less
    and still makes its target, once in each order, with a face card or without.

    Hands of two cards are few, so that most of those that `without_one` asks are among them: a
    model that is trained on these shows what can be learned at most, and generalises nothing.
    """
    smaller, rows = replace(game, cards=game.cards - 1), {}
    halves = halve_deals(game)
    for deal, split in split_deals(game).items():
        for hand in combinations(deal.cards, game.cards - 1) if split == "train" else ():
            if solvable(game.id_rule.values(hand), deal.target):
                for cards in sorted(set(permutations(hand))):
                    problem = make_problem(smaller, cards, "id", deal.target)
                    row = problem_row(smaller, problem, split, halves[deal])
                    rows.setdefault(problem.problem_id, row)
    return problem_frame(list(rows.values()), SFT_COLUMNS)


def distances(game: Game) -> dict[str, tuple[int, ...]]:
    """Return the distances of each of KINDS, ascending, at which neighbours are looked for.

    A compact game can only have targets that are words of its own. Rules and compact renderings
    have more distances than are asked: some, evenly spaced, and always that of the OOD rule.
    """
    rules: dict[str, set[int]] = {"equal rule": set(), "unequal rule": set()}
    for rule in _rules(game):
        rules[_kind_of(rule)].add(_rule_distance(game, rule))
    rules = {kind: _spread(found) for kind, found in rules.items()}
    if game.ood_rule.face_values != game.id_rule.face_values:
        rules[_kind_of(game.ood_rule)].add(_rule_distance(game, game.ood_rule))
    found = {
        ANCHOR: {0},
        "cards": {change for change in (-1, 1) if 2 <= game.cards + change <= 6},
        "target": {distance for distance in _TARGET_DISTANCES if _targets(game, distance)},
        "card exchanged": {1},
        **rules,
        "rendering": _spread({rendering_distance(game, r) for r in range(1, renderings(game))}),
    }
    return {kind: tuple(sorted(found[kind])) for kind in KINDS}


def left_out(game: Game, table: pd.DataFrame) -> list[str]:
    """Say of each distance of a kind without a problem why there is none, in a sentence."""
    possible = distances(game)
    wanted = {**possible, "cards": (-1, 1), "target": _TARGET_DISTANCES}
    why = {
        "cards": "a hand has two cards or more",
        "target": "no target so far from all trained ones can be written",
    }
    there = set(zip(table["neighbour"], table["distance"], strict=True))
    return [
        f"task {game.name!r} has no neighbours of kind {kind!r} at distance {distance}: "
        + ("no such hand is held out and solvable" if distance in possible[kind] else why[kind])
        for kind, graded in wanted.items()
        for distance in graded
        if (kind, distance) not in there
    ]


def rendering_distance(game: Game, rendering: int) -> int:
    """Return how far a rendering is from the standard one, which is 0.

    json: how many of the sentences (game, what cards count as, goal) are worded otherwise.
    compact: swaps of adjacent parts that lead to it (Kendall's distance), of rule, target and
    cards, and of J, Q and K within the rule.
    """
    if game.rendering == "compact":
        pairs = zip(ARRANGEMENTS[rendering], ARRANGEMENTS[0], strict=True)
        return sum(_swaps([standard.index(part) for part in order]) for order, standard in pairs)
    pairs = zip(json_texts.WORDINGS[rendering], json_texts.WORDINGS[0], strict=True)
    return sum(sentence != standard for sentence, standard in pairs)


def one_reading(game: Game, problem: CardProblem, rendering: int) -> bool:
    """Return whether a prompt can be read as this problem only, in whatever order of its parts.

    `8 8 J 8` is the target 8 before the cards 8 J 8, or after the cards 8 8 J.
    """
    if game.rendering != "compact":
        return True
    words = prompt(game, problem, rendering=rendering).split()[:-1]  # less the format token
    readings = {_read(words, arrangement) for arrangement in ARRANGEMENTS}
    return len(readings - {None}) == 1


# A function for each kind: (game, distance, seed) -> its problems in random order.


def _as_trained(game: Game, _distance: int, seed: int) -> Iterator[Neighbour]:
    return _hidden(game, _stream(seed, ANCHOR))


def _other_count(game: Game, distance: int, seed: int) -> Iterator[Neighbour]:
    other = replace(game, cards=game.cards + distance)
    # held out whatever the cards count as: so many were never trained on
    rng = _stream(seed, "cards", other.cards)
    return (n._replace(game=other) for n in _hidden(replace(other, held_out=1.0), rng))


def _other_target(game: Game, distance: int, seed: int) -> Iterator[Neighbour]:
    other = replace(game, targets=_targets(game, distance))
    return _hidden(other, _stream(seed, "target", distance))


def _other_rule(kind: str, game: Game, distance: int, seed: int) -> Iterator[Neighbour]:
    """Yield problems under the rules of one distance, which take turns."""
    lists = [
        _hidden(replace(game, ood_rule=rule), _stream(seed, kind, *rule.face_values), "ood")
        for rule in _rules(game)
        if _kind_of(rule) == kind and _rule_distance(game, rule) == distance
    ]
    return _in_turns(lists)


def _exchanged(game: Game, _distance: int, seed: int) -> Iterator[Neighbour]:
    """Exchange one card of training hands: at most one neighbour a hand, none twice."""
    rng, sides = _stream(seed, "card exchanged"), _sides(game)[0]
    trained = [deal for deal, side in sides.items() if side == "train"]
    exchanges = [(place, rank) for place in range(game.cards) for rank in RANKS]
    taken: set[Deal] = set()
    for index in rng.permutation(len(trained)):
        cards, target = trained[index]
        if not solvable(game.id_rule.values(cards), target):
            continue
        cards = _shuffled(cards, rng)
        for exchange in rng.permutation(len(exchanges)):
            place, rank = exchanges[exchange]
            hand = (*cards[:place], rank, *cards[place + 1 :])
            deal = _deal(hand, target)
            # A rank that counts as the one it replaces leaves the deal on the training side.
            free = sides[deal] == "held_out" and deal not in taken and count_faces(hand)
            if free and solvable(game.id_rule.values(hand), target):
                taken.add(deal)
                yield Neighbour(game, make_problem(game, hand, "id", target))
                break


def _rendered(game: Game, distance: int, seed: int) -> Iterator[Neighbour]:
    """Render the anchor's problems otherwise, but for texts that could state another problem."""
    rng = _stream(seed, "rendering", distance)
    others = [r for r in range(renderings(game)) if rendering_distance(game, r) == distance]
    for _, problem, _ in _as_trained(game, 0, seed):
        clear = [r for r in others if one_reading(game, problem, r)]
        if clear:
            yield Neighbour(game, problem, clear[int(rng.integers(len(clear)))])


_MAKERS = {
    ANCHOR: _as_trained,
    "cards": _other_count,
    "target": _other_target,
    "card exchanged": _exchanged,
    "equal rule": partial(_other_rule, "equal rule"),
    "unequal rule": partial(_other_rule, "unequal rule"),
    "rendering": _rendered,
}


def _hidden(
    game: Game, rng: np.random.Generator, side: Side = "id", faces: int = 1
) -> Iterator[Neighbour]:
    """Yield held-out hands with a face card (`faces`: at least so many) that the side's rule
    solves, in random order.

    Under another rule than that of training, hands that count differently by it, and by it not as
    a training hand does: `trained_values` says why.
    """
    rule = game.rule(side)
    sides, _, trained = _sides(game)
    hidden = [d for d, s in sides.items() if s == "held_out" and count_faces(d.cards) >= faces]
    for index in rng.permutation(len(hidden)):
        cards, target = hidden[index]
        values = rule.values(cards)
        differs = values != game.id_rule.values(cards) and tuple(sorted(values)) not in trained
        if (side == "id" or differs) and solvable(values, target):
            yield Neighbour(game, make_problem(game, _shuffled(cards, rng), side, target))


def held_out_hands(game: Game, seed: int) -> Iterator[Neighbour]:
    """Yield held-out hands that count differently under the OOD rule and that it solves, in random
    order, under that rule."""
    return _hidden(game, _stream(seed, ANCHOR, 2), "ood")


def row_of(hand: Neighbour, kind: str, distance: int) -> dict[str, Any]:
    """Make the row of one hand, whose problem is named by its kind."""
    row = _rows([hand], neighbour=ANCHOR, distance=distance)[0]
    return {**row, "neighbour": kind, "problem_id": f"{row['problem_id']}/{kind}"}


_Sides = tuple[dict[Deal, Split], dict[Deal, Half], frozenset[tuple[int, ...]]]


def _sides(game: Game) -> _Sides:
    """Return split and half of every deal, and `trained_values`: none depends on the OOD rule."""
    return _sides_of(replace(game, ood_rule=game.id_rule))


@lru_cache(maxsize=8)
def _sides_of(game: Game) -> _Sides:
    return split_deals(game), halve_deals(game), trained_values(game)


def _rows(found: Sequence[Neighbour], **named: Any) -> list[dict[str, Any]]:
    """Make the rows of the problems of one kind and distance."""
    halves = _sides(found[0].game)[1] if found else {}
    rows = []
    for game, problem, rendering in found:
        half = halves[_deal(problem.cards, problem.target)]
        row = problem_row(game, problem, "held_out", half)
        row["problem_id"] = _name(problem, rendering, named["neighbour"])
        row["prompt"] = prompt(game, problem, rendering=rendering)
        rows.append({**row, **named})
    return rows


def _name(problem: CardProblem, rendering: int, kind: str) -> str:
    """Name a problem, with the rule's values or the rendering where these differ from training."""
    if kind in ("equal rule", "unequal rule"):
        return f"{problem.pair_id}:{'-'.join(map(str, problem.rule_values))}"
    return f"{problem.problem_id}/{rendering}" if rendering else problem.problem_id


def _rules(game: Game) -> list[FaceRule]:
    """List rules other than that of training: equal values, consecutive ones, the OOD rule."""
    equal = [(value,) * 3 for value in range(1, _MOST_FACE + 1)]
    consecutive = [(first, first + 1, first + 2) for first in range(1, _MOST_FACE - 1)]
    values = {*equal, *consecutive, game.ood_rule.face_values} - {game.id_rule.face_values}
    return [FaceRule.of(v) for v in sorted(values)]


def _kind_of(rule: FaceRule) -> str:
    return "equal rule" if len(set(rule.face_values)) == 1 else "unequal rule"


def _rule_distance(game: Game, rule: FaceRule) -> int:
    pairs = zip(rule.face_values, game.id_rule.face_values, strict=True)
    return sum(abs(value - trained) for value, trained in pairs)


def _targets(game: Game, distance: int) -> tuple[int, ...]:
    """Return the untrained targets at this distance from the nearest trained one."""
    near = {trained + way for trained in game.targets for way in (-distance, distance)}
    if game.rendering == "compact":
        near &= {int(word) for word in compact_vocabulary(game) if word.isdigit()}
    return tuple(
        target
        for target in sorted(near)
        if 1 <= target <= 999 and min(abs(target - t) for t in game.targets) == distance
    )


def _spread(found: set[int]) -> set[int]:
    """Thin distances to _MOST_DISTANCES, evenly spaced, with the smallest and the largest."""
    every, last = sorted(found), _MOST_DISTANCES - 1
    if len(every) <= _MOST_DISTANCES:
        return set(every)
    return {every[round(i * (len(every) - 1) / last)] for i in range(_MOST_DISTANCES)}


def _swaps(places: Sequence[int]) -> int:
    """Count the pairs that are out of order, which is the number of adjacent swaps to sort."""
    return sum(a > b for a, b in combinations(places, 2))


def _read(words: Sequence[str], arrangement: tuple) -> tuple | None:
    """Read a compact prompt as if its parts stood in this order; None if they cannot."""
    order, faces = arrangement
    lengths = {"rule": 6, "target": 1, "cards": len(words) - 7}
    parts, at = {}, 0
    for name in order:
        parts[name] = words[at : at + lengths[name]]
        at += lengths[name]
    named, values = parts["rule"][::2], parts["rule"][1::2]
    numbers = [*values, *parts["target"]]
    in_order = named == [FACES[face] for face in faces]
    if not (in_order and all(map(str.isdigit, numbers)) and set(parts["cards"]) <= set(RANKS)):
        return None
    return tuple(sorted(zip(named, values, strict=True))), *parts["target"], *parts["cards"]


def _deal(cards: Sequence[str], target: int) -> Deal:
    return Deal(tuple(sorted(cards, key=RANKS.index)), target)


def _shuffled(cards: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(cards[place] for place in rng.permutation(len(cards)))


def _in_turns(lists: Sequence[Any]) -> Iterator[Any]:
    """Yield one item of each list in turns, until all have ended."""
    return (item for turn in zip_longest(*lists) for item in turn if item is not None)


def _stream(seed: int, kind: str, *which: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed, _NEIGHBOUR_STREAM, list(KINDS).index(kind), *which])
