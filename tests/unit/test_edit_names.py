"""Names of edits: one edit has one name, and a wrong one says what to write."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healscope.edit_kinds import ANGLE, NORM, WHOLE_NORM, matched, with_tables
from healscope.edit_names import (
    AXES,
    CONTROLS,
    KINDS,
    OF_PARTS,
    Edit,
    Term,
    along,
    beyond,
    format_edit,
    names_along,
    parse,
)
from healscope.errors import HealscopeError

share = st.integers(1, 10_000).map(lambda n: n / 10_000)
number = st.integers(1, 9999).map(float)
pairs = {
    "shares": st.tuples(share, share).filter(lambda p: p[0] < p[1]),
    "numbers": st.tuples(number, number).filter(lambda p: p[0] < p[1]),
}
values = {
    "rank": share, "tail": share, "band": pairs["shares"], "k": number, "tail_k": number,
    "band_k": pairs["numbers"], "layers": number, "last": number, "layer": number,
    "block": pairs["numbers"],
    "roles": st.lists(st.sampled_from(["q", "k", "v", "down"]), min_size=1, unique=True).map(tuple),
}  # fmt: skip


@st.composite
def terms(draw):
    kind = draw(st.sampled_from(list(KINDS)))
    able = [name for name in values if KINDS[kind].of or name not in OF_PARTS]
    chosen = draw(st.sets(st.sampled_from(able)))
    selected = tuple((name, draw(values[name])) for name in values if name in chosen)
    return Term(kind, selected, draw(st.one_of(st.just(1.0), share)))


@given(st.lists(terms(), min_size=1, max_size=3), st.sampled_from(["", *CONTROLS]))
def test_format_and_parse_are_inverse(found, control):
    edit = Edit(tuple(found), control)
    if control == "rotation" and not any(KINDS[term.kind].turns for term in found):
        with pytest.raises(HealscopeError, match="turns no singular vectors"):
            parse(format_edit(edit))
        return
    straight = all(term.kind == "ramp" or term.is_step for term in found)
    if straight and control in ("interpolation", "rest"):
        with pytest.raises(HealscopeError, match="would be the edit itself; take 'straight'"):
            parse(format_edit(edit))
        return
    if control == "straight" and len(found) == 1 and found[0].is_step:
        with pytest.raises(HealscopeError, match="is one straight step itself"):
            parse(format_edit(edit))
        return
    assert parse(format_edit(edit)) == edit
    assert "/" not in format_edit(edit)


def test_names_of_earlier_studies_stay_valid():
    for name in ("values-layers-2", "directions-rank-0.0625", "swap-rank-1"):
        assert format_edit(parse(name)) == name
    assert parse("directions-rank-0.0625").axis == ("rank", 0.0625)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vectors-rank-0.5", "kinds: values, directions, orthonormal, pinned, swap, diagonal"),
        ("swap-depth-1", "selectors: rank, tail, band"),
        ("swap-rank-0", "rank must be a share above 0 and up to 1, got '0'"),
        ("swap-rank-1.5", "rank must be a share"),
        ("swap-rank-nan", "rank must be a share"),
        ("swap-k-1.5", "k must be a number from 1, got '1.5'"),
        ("swap-band-0.5..0.5", "band must be two rising shares"),
        ("swap-block-2", "block must be two numbers"),
        ("swap-strength-inf", "strength must be a number above 0"),
        ("swap-roles-q.q", "'q.q' are not roles"),
        ("swap-rank-0.5-rank-0.7", "a selector stands twice"),
        ("swap-rank-0.50", "write it as 'swap-rank-0.5'"),
        ("swap-layers-1-rank-0.5", "write it as 'swap-rank-0.5-layers-1'"),
        ("swap-strength-1", "write it as 'swap'"),
        (
            "swap-as-magic",
            "no control 'magic'; allowed: interpolation, straight, noise, rotation, shuffle, rest",
        ),
        ("values-rank-0.5+diagonal-as-rotation", "turns no singular vectors"),
        ("", "is not KIND"),
    ],
)
def test_a_wrong_name_says_what_to_write(name, expected):
    with pytest.raises(HealscopeError) as error:
        parse(name)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("swap", (0, 8)),
        ("swap-rank-0.25", (0, 2)),
        ("swap-rank-0.01", (0, 1)),  # at least one
        ("swap-tail-0.25", (6, 8)),
        ("swap-band-0.25..0.75", (2, 6)),
        ("swap-k-3", (0, 3)),
        ("swap-k-30", (0, 8)),  # clipped, as published
        ("swap-tail_k-3", (5, 8)),
        ("swap-band_k-2..5", (2, 5)),
        ("swap-band_k-6..50", (6, 8)),
        ("swap-rank-0.75-tail-0.5", (4, 6)),  # what both choose
        ("swap-rank-0.25-tail-0.25", (0, 0)),
        ("swap-layers-2", (0, 8)),
        ("swap-layers-1", (0, 0)),
        ("swap-last-3", (0, 8)),
        ("swap-last-2", (0, 0)),
        ("swap-layer-1", (0, 8)),
        ("swap-block-1..3", (0, 8)),
        ("swap-block-2..4", (0, 0)),
        ("swap-roles-k.q", (0, 8)),
        ("swap-roles-k", (0, 0)),
    ],
)
def test_what_a_term_touches_in_layer_1_of_4(name, span):
    assert parse(name).terms[0].span(layer=1, role="q", rank=8, layers=4) == span


def test_selectors_of_layers_never_choose_the_embeddings():
    whole, layers = parse("swap").terms[0], parse("swap-layers-4").terms[0]
    assert whole.span(-1, "embeddings", 8, 4) == (0, 8)
    assert layers.span(-1, "embeddings", 8, 4) == (0, 0)


def test_bands_tile_the_rank():
    for rank in range(1, 40):
        names = [f"swap-band-{a / 5:g}..{(a + 1) / 5:g}" for a in range(5)]
        touched = [i for n in names for i in range(*parse(n).terms[0].span(0, "q", rank, 1))]
        assert touched == list(range(rank))


def test_axis_and_amount_of_a_sweep():
    for axis in AXES:
        form = {"band": "0.25..0.5", "band_k": "2..6", "block": "2..6"}.get(axis, 0.5)
        amount = 3 if axis in ("k", "tail_k", "layers", "last", "layer") else form
        name = along("values", axis, amount)
        middle = {"band": 0.375, "band_k": 4.0, "block": 4.0}.get(axis, amount)
        assert parse(name).axis == (axis, middle)
    assert parse("swap-rank-0.5-layers-1").axis == ("", 0)
    assert parse("swap-roles-q").axis == ("", 0)
    assert parse("swap-rank-0.5+values").axis == ("", 0)


def test_a_control_follows_its_edit_once():
    names = names_along(
        ["values", "directions"], {"rank": [1.0, 0.5], "layers": [1]},
        {"directions": ["noise", "shuffle"]}, {"rank": [0.2, 0.5], "band": ["0..0.5"]},
    )  # fmt: skip
    assert names == [
        "values-rank-0.5", "values-rank-1", "values-layers-1",
        "directions-rank-0.2", "directions-rank-0.2-as-noise", "directions-rank-0.2-as-shuffle",
        "directions-rank-0.5", "directions-rank-0.5-as-noise", "directions-rank-0.5-as-shuffle",
        "directions-rank-1", "directions-layers-1", "directions-band-0..0.5",
        "directions-band-0..0.5-as-noise", "directions-band-0..0.5-as-shuffle",
    ]  # fmt: skip


def test_a_kind_that_is_only_controlled_is_made_beside_its_controls():
    places = {"rank": [0.2, 1.0], "layers": [1]}
    assert names_along(["swap"], {"rank": [0.5]}, {"diagonal": ["rest"]}, places) == [
        "swap-rank-0.5", "diagonal-rank-0.2", "diagonal-rank-0.2-as-rest", "diagonal-rank-1",
        "diagonal-rank-1-as-rest", "diagonal-layers-1", "diagonal-layers-1-as-rest",
    ]  # fmt: skip


def test_a_block_is_made_where_a_part_of_the_directions_is_chosen():
    places = {"rank": [0.2, 1.0], "band": ["0..1"], "layers": [1], "strength": [0.5]}
    for kind in ("block", "complement"):
        assert names_along([kind], places, {}, {}) == [f"{kind}-rank-0.2"]
        assert names_along([], {}, {kind: ["noise"]}, places) == [
            f"{kind}-rank-0.2", f"{kind}-rank-0.2-as-noise"
        ]  # fmt: skip


def test_where_two_kinds_agree_controls_are_made_once():
    both = {"directions": ["noise"], "pinned": ["noise"]}
    assert names_along(["pinned"], {"rank": [1.0]}, both, {"rank": [1.0]}) == [
        "pinned-rank-1", "directions-rank-1", "directions-rank-1-as-noise"
    ]  # fmt: skip
    alone = {"pinned": ["noise"]}
    assert names_along([], {}, alone, {"rank": [1.0]}) == [
        "pinned-rank-1",
        "pinned-rank-1-as-noise",
    ]


def test_every_control_says_what_it_is_matched_in():
    for control in CONTROLS.values():
        assert control.matched
        assert set(control.matched) <= {NORM, ANGLE, WHOLE_NORM}
    assert CONTROLS["rotation"].matched == (NORM, ANGLE)
    assert matched("rotation") == "norm and angle"
    assert matched("") == ""


def test_a_selector_beyond_the_model_is_found():
    assert beyond("layers", [1, 2, 3], 2) == "3"
    assert beyond("last", [3], 2) == "3"
    assert beyond("layer", [1, 2], 2) == "2"
    assert beyond("block", ["0..2", "1..3"], 2) == "1..3"
    assert beyond("layers", [1, 2], 2) == ""


def test_tables_of_the_docs_are_made_from_the_records():
    page = (Path(__file__).parents[2] / "docs/edits.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "run `make schema`"
    assert all(f"\n| `{name}` | {k.formula} |" in page for name, k in (KINDS | CONTROLS).items())


def test_a_kind_without_parts_says_so_and_is_made_along_other_axes():
    with pytest.raises(HealscopeError, match="ramp has no parts for rank to choose; leave it out"):
        parse("ramp-rank-0.5")
    axes = {"rank": [0.5], "strength": [0.25], "layers": [1]}
    assert names_along(["ramp"], axes, {}, {}) == ["ramp-strength-0.25", "ramp-layers-1"]
