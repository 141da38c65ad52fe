"""Names of edits, which say everything that an edit does and are part of file names.

An edit is a sum of terms joined by "+"; a term is a kind and selectors, each with a value:
`swap`, `directions-rank-0.25`, `values-tail-0.5-layers-2+swap-roles-o-strength-0.5`. A term touches
what all of its selectors choose. `-as-CONTROL` at the end makes the control that is matched to the
edit before it: `directions-rank-0.25-as-noise`. `healscope.edit_kinds` lists kinds and controls;
what they compute stands in `healscope.spectra.edits` and `healscope.spectra.controls`.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from healscope.edit_kinds import CONTROLS, KINDS
from healscope.errors import HealscopeError

Range = tuple[float, float]
Value = float | Range | tuple[str, ...]

# selector -> form of its value, in the order of names
SELECTORS = {
    "rank": "share",  # the leading share of each matrix's directions, at least one
    "tail": "share",  # the trailing share
    "band": "shares",  # from one share to another, a..b
    "k": "number",  # so many leading directions, all where a matrix has fewer (as published)
    "tail_k": "number",  # so many trailing ones
    "band_k": "numbers",  # those from a up to but not b, a..b, counted from 0
    "layers": "number",  # the first n decoder layers
    "last": "number",  # the last n
    "layer": "index",  # this one, counted from 0
    "block": "numbers",  # those from a up to but not b
    "roles": "roles",  # matrices of these roles, q.k.v
    "strength": "factor",  # how much of the edit is made: 1, which names leave out, is all
}
OF_LAYERS = {"layers", "last", "layer", "block"}
OF_PARTS = {"rank", "tail", "band", "k", "tail_k", "band_k"}
AXES = tuple(name for name in SELECTORS if name != "roles")
"""Selectors along which a sweep can go."""

OUTSIDE = ("embeddings", "head")
"""Roles of matrices that are in no decoder layer."""
_LARGE = 1 << 20  # a rank of which every selector of directions chooses some

_TERM = re.compile(rf"({'|'.join(KINDS)})((?:-(?:{'|'.join(SELECTORS)})-[^-+]+)*)")
_SELECTED = re.compile(rf"-({'|'.join(SELECTORS)})-([^-+]+)")


@dataclass(frozen=True)
class Term:
    """A kind, its selectors with their values (in the order of SELECTORS), and its strength."""

    kind: str
    selected: tuple[tuple[str, Value], ...] = ()
    strength: float = 1.0

    @property
    def everything(self) -> bool:
        """Whether it chooses all directions of a matrix that it touches, whatever its rank."""
        of_parts = [s for s in self.selected if s[0] in OF_PARTS]
        return all(s in (("rank", 1.0), ("tail", 1.0), ("band", (0.0, 1.0))) for s in of_parts)

    @property
    def is_step(self) -> bool:
        """Whether it is one multiple of W_p - W_t in all matrices that it touches."""
        return self.everything and KINDS[self.kind].all_is_gap

    def span(self, layer: int, role: str, rank: int, layers: int) -> tuple[int, int]:
        """Return the directions (start, stop) that it touches in one matrix; (0, 0): none.

        `rank` is that of the matrix. `layer` is -1 for a matrix outside of the `layers` decoder
        layers, which selectors of layers never choose.
        """
        start, stop = 0, rank
        for name, value in self.selected:
            if name == "roles":
                chosen = role in value
            elif name in OF_LAYERS:
                first, end = _layers(name, value, layers)
                chosen = first <= layer < end and layer >= 0
            else:
                first, end = _directions(name, value, rank)
                start, stop = max(start, first), min(stop, end)
                chosen = start < stop
            if not chosen:
                return 0, 0
        return start, stop


@dataclass(frozen=True)
class Edit:
    """A sum of terms, or the control that is matched to it."""

    terms: tuple[Term, ...]
    control: str = ""

    def everywhere(self) -> "Edit":
        """Return the same edit in all layers."""
        terms = [
            replace(t, selected=tuple(s for s in t.selected if s[0] not in OF_LAYERS))
            for t in self.terms
        ]
        return replace(self, terms=tuple(terms))

    @property
    def axis(self) -> tuple[str, float]:
        """(selector, value) of an edit with one selector; of a range, its middle.

        ("", 0) if it touches everything or has several parts.
        """
        if len(self.terms) > 1:
            return "", 0.0
        (term,) = self.terms
        parts = [*term.selected, *([("strength", term.strength)] if term.strength != 1 else [])]
        if len(parts) != 1 or parts[0][0] == "roles":
            return "", 0.0
        ((name, value),) = parts
        return name, sum(value) / 2 if isinstance(value, tuple) else float(value)

    @property
    def kind(self) -> str:
        """The kinds of its terms, joined by +."""
        return "+".join(t.kind for t in self.terms)


def along(kind: str, axis: str, amount: float | str, control: str = "") -> str:
    """Return the name of the edit of one kind at one place of a sweep; raise HealscopeError."""
    name = f"{kind}-{axis}-{amount if isinstance(amount, str) else _number(amount)}"
    edit = _parse(f"{name}-as-{control}" if control else name)
    return format_edit(edit)


def parse(name: str) -> Edit:
    """Return the edit of that name.

    An edit has one name, by which its file is found. Raises HealscopeError if there is none of that
    name, or if its name is written differently.
    """
    edit = _parse(name)
    if format_edit(edit) != name:
        raise HealscopeError(f"edit '{name}': write it as '{format_edit(edit)}'")
    return edit


def format_edit(edit: Edit) -> str:
    """Return the name of an edit: the inverse of `parse`."""
    terms = "+".join(_format_term(t) for t in edit.terms)
    return f"{terms}-as-{edit.control}" if edit.control else terms


def _parse(name: str) -> Edit:
    text, marked, control = name.partition("-as-")
    if marked and control not in CONTROLS:
        raise HealscopeError(
            f"edit '{name}': no control '{control}'; allowed: {', '.join(CONTROLS)}"
        )
    terms = tuple(_parse_term(name, part) for part in text.split("+"))
    if control and CONTROLS[control].turns and not any(KINDS[t.kind].turns for t in terms):
        raise HealscopeError(
            f"edit '{name}': {text.partition('-')[0]} turns no singular vectors, so that control "
            f"'{control}' would be the edit itself; take another control"
        )
    scales = all(KINDS[t.kind].scales or t.is_step for t in terms)
    if control and CONTROLS[control].scales and scales:
        raise HealscopeError(
            f"edit '{name}': it goes straight back in each matrix, so that control '{control}' "
            "would be the edit itself; take 'straight', one step for all matrices, or 'noise'"
        )
    if control and CONTROLS[control].one_step and len(terms) == 1 and terms[0].is_step:
        raise HealscopeError(f"edit '{name}': it is one straight step itself; take 'noise'")
    return Edit(terms, control)


def _parse_term(name: str, text: str) -> Term:
    if not (found := _TERM.fullmatch(text)):
        raise HealscopeError(
            f"edit '{name}': '{text}' is not KIND-SELECTOR-VALUE-…; kinds: {', '.join(KINDS)}; "
            f"selectors: {', '.join(SELECTORS)}"
        )
    pairs = _SELECTED.findall(found[2])
    values = {selector: _value(name, selector, value) for selector, value in pairs}
    if len(values) < len(pairs):
        raise HealscopeError(f"edit '{name}': a selector stands twice in '{text}'")
    strength = values.pop("strength", 1.0)
    selected = tuple((s, values[s]) for s in SELECTORS if s in values)
    if (of_parts := OF_PARTS & {*values}) and not KINDS[found[1]].of:
        raise HealscopeError(
            f"edit '{name}': {found[1]} has no parts for {min(of_parts)} to choose; leave it out"
        )
    return Term(found[1], selected, strength)


def _format_term(term: Term) -> str:
    parts = [term.kind]
    for selector, value in term.selected:
        parts += [selector, _written(value)]
    if term.strength != 1:
        parts += ["strength", _number(term.strength)]
    return "-".join(parts)


_FORMS = {
    "share": (1, lambda x: 0 < x <= 1, "a share above 0 and up to 1"),
    "shares": (2, lambda a, b: 0 <= a < b <= 1, "two rising shares, as 0.25..0.5"),
    "number": (1, lambda n: n >= 1 and n % 1 == 0, "a number from 1"),
    "index": (1, lambda n: n >= 0 and n % 1 == 0, "a number from 0"),
    "numbers": (2, lambda a, b: 0 <= a < b and a % 1 == b % 1 == 0, "two numbers, as 0..2"),
    "factor": (1, lambda x: 0 < x < math.inf, "a number above 0"),
}


def _value(name: str, selector: str, text: str) -> Value:
    if SELECTORS[selector] == "roles":
        roles = tuple(text.split("."))
        if len(set(roles)) < len(roles) or not all(re.fullmatch("[a-z_]+", r) for r in roles):
            raise HealscopeError(f"edit '{name}': '{text}' are not roles, as q.k.v, each once")
        return roles
    size, allowed, about = _FORMS[SELECTORS[selector]]
    try:
        numbers = [float(part) for part in text.split("..")]
        fits = len(numbers) == size and allowed(*numbers)
    except ValueError:
        fits = False
    if not fits:
        raise HealscopeError(f"edit '{name}': {selector} must be {about}, got '{text}'")
    return numbers[0] if size == 1 else tuple(numbers)


def _written(value: Value) -> str:
    if not isinstance(value, tuple):
        return _number(value)
    return ".".join(value) if isinstance(value[0], str) else "..".join(map(_number, value))


def _number(x: float) -> str:
    """Write a number without an exponent, whose sign would end the value."""
    return f"{x:.10f}".rstrip("0").rstrip(".")


def leading(fraction: float, rank: int) -> int:
    """Return how many directions a share of the rank means; at least one."""
    return max(1, round(fraction * rank))


def _directions(selector: str, value: Value, rank: int) -> tuple[int, int]:
    match selector:
        case "rank":
            return 0, leading(value, rank)
        case "tail":
            return rank - leading(value, rank), rank
        case "band":
            return round(value[0] * rank), round(value[1] * rank)
        case "k":
            return 0, min(int(value), rank)
        case "tail_k":
            return rank - min(int(value), rank), rank
    return int(value[0]), min(int(value[1]), rank)


def _layers(selector: str, value: Value, layers: int) -> tuple[int, int]:
    match selector:
        case "layers":
            return 0, int(value)
        case "last":
            return layers - int(value), layers
        case "layer":
            return int(value), int(value) + 1
    return int(value[0]), int(value[1])


def beyond(axis: str, amounts: Sequence[float | str], layers: int) -> str:
    """Return the first value of a layer selector that needs more layers; empty if none does."""
    for amount in amounts:
        ((_, value),) = parse(along(next(iter(KINDS)), axis, amount)).terms[0].selected
        if _needed(axis, value) > layers:
            return _written(value)
    return ""


def needed_layers(edit: Edit) -> dict[str, int]:
    """Return selector of layers -> how many layers a model needs for it, in any term."""
    found: dict[str, int] = {}
    for term in edit.terms:
        for name, value in term.selected:
            if name in OF_LAYERS:
                found[name] = max(found.get(name, 0), _needed(name, value))
    return found


def chosen_roles(edit: Edit) -> set[str]:
    """Return the roles that an edit names."""
    return {r for term in edit.terms for r in dict(term.selected).get("roles", ())}


def selects(edit: Edit, roles: Collection[str], layers: int) -> bool:
    """Return whether an edit can choose anything of a model with matrices of these roles."""
    places = [(-1, r) if r in OUTSIDE else (i, r) for r in roles for i in range(layers)]
    spans = (term.span(*place, _LARGE, layers) for term in edit.terms for place in places)
    return any(start < stop for start, stop in spans)


def _needed(selector: str, value: Value) -> int:
    return int(value) if selector == "last" else _layers(selector, value, 0)[1]


def names_along(
    kinds: Sequence[str],
    axes: dict[str, Sequence[float | str]],
    controls: dict[str, Sequence[str]],
    controlled: dict[str, Sequence[float | str]],
) -> list[str]:
    """Return every edit of a sweep, in an order in which each differs little from the one before.

    `kinds` are made at every place of `axes`; the kinds of `controls` are made at those of
    `controlled`, each followed by the controls that are matched to it. A kind that is made in part
    only (`edit_kinds.Kind.in_part`) is left out where a place chooses all directions, as are
    controls of a kind that is another one there which has controls (`edit_kinds.Kind.whole`). A
    kind whose parts cannot be chosen is made along axes of layers and strength alone.
    """
    found = []
    for kind in dict.fromkeys([*kinds, *controls]):
        for axis in {**axes, **controlled}:
            if axis in OF_PARTS and not KINDS[kind].of:
                continue
            plain = {along(kind, axis, a): a for a in axes.get(axis, []) if kind in kinds}
            marked = {along(kind, axis, a): a for a in controlled.get(axis, []) if kind in controls}
            order = {**plain, **marked}
            for name in sorted(order, key=lambda n: parse(n).axis[1]):
                everything = parse(name).terms[0].everything
                if everything and KINDS[kind].in_part:
                    continue
                found.append(name)
                if name in marked and not (everything and KINDS[kind].whole in controls):
                    found += [along(kind, axis, order[name], c) for c in controls[kind]]
    return found
