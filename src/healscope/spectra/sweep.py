"""Makes many edits of one target in memory, one after the other.

A sweep of edits costs little more than one edit: factors are read only where they are needed, and
an additive edit goes from one point to the next by the directions between the two (one matrix
product). Of a large model only the latest updates are held, in float32; what has been read of a
small one is kept. Nothing is written to disk. Of factors in float32 (`spectra.single`) only the
columns between two points are read.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from healscope.draws import seeded
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.edit_names import Edit, Term, parse
from healscope.errors import HealscopeError
from healscope.models.variants import Variant, Weights
from healscope.spectra import controls, sources
from healscope.spectra.angles import principal_angles
from healscope.spectra.decompose import decompose
from healscope.spectra.edits import ADDITIVE, DENSE, Inputs, aligned, turns
from healscope.spectra.factors import Decomposed, Factors, Matrix
from healscope.spectra.single import decompose_single

CACHE_BYTES = 64 * 2**20
"""How much of the factors and weights that a sweep has read is kept: all of a tiny model, next to
nothing of a large one."""

ANGLES_OF = {256: 16, math.inf: 4}
"""Rank of the largest matrix -> on how many matrices, evenly spread, angles of edited models are
measured: each costs an SVD."""

Part = tuple[str, float, int, int]
"""(kind, strength, start, stop): what one term of an edit does to one matrix."""


@dataclass(frozen=True)
class Pair:
    """Two checkpoints of one architecture; an edit puts parts of the target back to the parent.

    Weights by name, factors by matrix; all may be read from disk when asked for. The matrices of
    `target_factors` are those that edits see.
    """

    target: Mapping[str, torch.Tensor]
    parent: Mapping[str, torch.Tensor]
    target_factors: Mapping[Matrix, Factors]
    parent_factors: Mapping[Matrix, Factors]

    @property
    def single(self) -> bool:
        """Return whether both have factors in float32, read by columns."""
        both = self.target_factors, self.parent_factors
        return all(isinstance(f, Decomposed) and f.single for f in both)


class Sweep:
    """Makes variants of a pair's target, and remembers the latest update of each matrix.

    `stream`, edit and matrix together seed the random numbers of controls. Matrices are computed
    on `device`. The last bits of an edited weight can depend on the edits before it in the sweep.
    """

    def __init__(self, pair: Pair, stream: str = "", device: str = "cpu"):
        self.pair, self.stream, self.device = pair, stream, device
        self.matrices = list(pair.target_factors)
        self.layers = 1 + max(m.layer for m in self.matrices)
        self.shapes = {m: tuple(sources.read(pair.target, m).shape) for m in self.matrices}
        self.latest: dict[Matrix, tuple[tuple[Part, ...], torch.Tensor]] = {}
        self.gap_squares: dict[Matrix, float] = {}
        self.turns: dict[Matrix, list[tuple[slice, torch.Tensor]]] = {}
        self.cache: dict[tuple[str, Matrix], tuple] = {}
        self.norms: dict[tuple[Term, ...], tuple[float, float]] = {}
        self.room = CACHE_BYTES
        largest = max(min(shape) for shape in self.shapes.values())
        number = next(n for rank, n in ANGLES_OF.items() if largest <= rank)
        spread = torch.linspace(0, len(self.matrices) - 1, number).round().int()
        self.with_angles = {self.matrices[i] for i in spread}

    def variants(self, names: Sequence[str]) -> list[Variant]:
        """Return the edits of these names in order; those with equal weights are one variant.

        Each measures `from_target` and `from_parent`: its Frobenius distance from either, over all
        matrices of the pair, in units of the distance between the two; and `turned_degrees`: the
        root mean square of the principal angles between the target's and its own singular
        subspaces, those of the directions that the edit chooses, or of the leading half where it
        chooses all; left and right, over those edited matrices that are in `with_angles`.
        """
        groups: dict[object, list[str]] = {}
        for name in names:
            edit = parse(name)
            repeatable = not edit.control or CONTROLS[edit.control].of_update_alone
            same = (edit.control, self._all_parts(edit)) if repeatable else name
            groups.setdefault(same, []).append(name)
        return [self._variant(name, tuple(also)) for name, *also in groups.values()]

    def _variant(self, name: str, also: tuple[str, ...]) -> Variant:
        edit, measured = parse(name), {}
        self._check(name, edit)
        return Variant(
            name, lambda: self._weights(name, edit, measured), also=also, measured=measured
        )

    def _check(self, name: str, edit: Edit) -> None:
        roles = sorted({m.role for m in self.matrices})
        for term in edit.terms:
            if unknown := set(dict(term.selected).get("roles", ())) - set(roles):
                raise HealscopeError(
                    f"edit '{name}': no matrix of role {', '.join(sorted(unknown))} is decomposed; "
                    f"there are {', '.join(roles)} (spectra.matrices)"
                )
        if not any(self._all_parts(edit)):
            raise HealscopeError(
                f"edit '{name}' selects nothing of a model with {self.layers} layers"
            )
        needed = CONTROLS[edit.control].layers if edit.control else 1
        if self.layers < needed:
            raise HealscopeError(
                f"edit '{name}': control '{edit.control}' needs {needed} layers or more"
            )

    def _all_parts(self, edit: Edit) -> tuple[tuple[Part, ...], ...]:
        return tuple(self._parts(edit, m) for m in self.matrices)

    def _parts(self, edit: Edit, matrix: Matrix) -> tuple[Part, ...]:
        """Return what each term does to a matrix, without those that do nothing."""
        found, shape = [], self.shapes[matrix]
        for term in edit.terms:
            rank = math.prod(shape) if KINDS[term.kind].of == "entries" else min(shape)
            start, stop = term.span(matrix.layer, matrix.role, rank, self.layers)
            whole = (start, stop) == (0, rank)
            kind = whole and KINDS[term.kind].whole or term.kind
            if start < stop:
                found.append((kind, term.strength, start, stop))
        return tuple(found)

    def _weights(self, name: str, edit: Edit, measured: dict[str, float]) -> Weights:
        """Yield (name, tensor) of every edited tensor, float32; fill `measured` at the end."""
        moved = apart = 0.0
        angles: list[torch.Tensor] = []
        for tensor_name, group in groupby(self.matrices, key=lambda m: m.name):
            edited = None
            for matrix in group:  # more than one where projections are fused
                parts = self._parts(edit, matrix)
                if not parts:
                    apart += self._gap(matrix)
                    continue
                old, gap = self._old_and_gap(matrix)
                change = self._change(name, edit, matrix, parts, gap)
                moved += _square(change)
                apart += _square(gap - change)
                ((kind, strength, *span), *others) = parts
                exact = KINDS[kind].all_is_parent and strength == 1 and not others
                exact = exact and not edit.control and span == [0, min(old.shape)]
                new = self._read(sources.read(self.pair.parent, matrix)) if exact else old + change
                if matrix in self.with_angles:
                    angles += self._angles(matrix, parts, new)
                if matrix.rows is None:
                    edited = new
                    continue
                if edited is None:
                    edited = self._read(self.pair.target[tensor_name])
                matrix.part(edited).copy_(new)
            if edited is not None:
                yield tensor_name, edited
        gap = sum(map(self._gap, self.matrices))
        for column, square in (("from_target", moved), ("from_parent", apart)):
            measured[column] = math.sqrt(square / gap) if gap else math.nan
        turned = torch.cat(angles).square().mean().sqrt() if angles else torch.tensor(math.nan)
        measured["turned_degrees"] = math.degrees(float(turned))

    def _angles(
        self, matrix: Matrix, parts: tuple[Part, ...], new: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return the principal angles, in radians, between singular subspaces of target and `new`.

        The subspaces are those that the parts of an edit choose, left and right ones; the leading
        half where they choose all, or choose no directions of the target.
        """
        rank, found = min(new.shape), []
        single = self.pair.single
        now = decompose_single(new, self.device)[0] if single else decompose(new)[0]
        half = (0, rank // 2 or 1)
        spans = (
            half if KINDS[kind].of != "directions" or tuple(span) == (0, rank) else tuple(span)
            for kind, _, *span in parts
        )  # fmt: skip
        for i in (slice(*span) for span in dict.fromkeys(spans)):
            if single:
                target = self.pair.target_factors.columns(matrix, i.start, i.stop)
                turned = now.rows(i).columns(new.cpu())
            else:
                target, turned = (_cut(f, i) for f in (self._factors(matrix)[0], now))
            for old, edited in ((target.u, turned.u), (target.v, turned.v)):
                edited = edited.to(old)
                found += principal_angles(old, edited, [old.shape[1]]).values()
        return [angles.cpu() for angles in found]

    def _change(
        self,
        name: str,
        edit: Edit,
        matrix: Matrix,
        parts: tuple[Part, ...],
        gap: torch.Tensor,
    ) -> torch.Tensor:
        """Return what is added to a matrix, float32: the edit's update, or its control's."""
        own = self._update(matrix, parts, gap)
        if not edit.control:
            return own
        whole = tuple((kind, 1.0, *span) for kind, _, *span in parts)
        update = controls.Update(
            own=own,
            gap=gap,
            factors=lambda: self._factors(matrix)[0],
            at_full_strength=lambda: self._update(matrix, whole, gap),
            of_next_layer=lambda: self._update_of_next_layer(edit, matrix),
            in_all=lambda: self._in_all(edit),
            generator=lambda: seeded(self.stream, name, matrix.layer, matrix.role),
            edit=name,
            matrix=matrix,
        )
        return controls.FORMULAS[edit.control](update)

    def _in_all(self, edit: Edit) -> tuple[float, float]:
        """Return the norms of an edit's update, and of W_p - W_t, over all that it touches."""
        if edit.terms not in self.norms:
            own = gap = 0.0
            for matrix in self.matrices:
                if parts := self._parts(edit, matrix):
                    own += _square(self._update(matrix, parts, self._old_and_gap(matrix)[1]))
                    gap += self._gap(matrix)
            self.norms[edit.terms] = math.sqrt(own), math.sqrt(gap)
        return self.norms[edit.terms]

    def _update_of_next_layer(self, edit: Edit, matrix: Matrix) -> torch.Tensor:
        """Return the update of the next layer's matrix of this role by the edit in all layers."""
        alike = [m for m in self.matrices if m.role == matrix.role]
        other = alike[(alike.index(matrix) + 1) % len(alike)]
        parts = self._parts(edit.everywhere(), other)
        return self._update(other, parts, self._old_and_gap(other)[1])

    def _update(self, matrix: Matrix, parts: tuple[Part, ...], gap: torch.Tensor) -> torch.Tensor:
        """Return the sum of all parts' updates, (m, n) float32; `gap` is W_p - W_t."""
        before, update = self.latest.get(matrix, ((), None))
        if before == parts:
            return update
        rank = min(gap.shape)
        whole = [p for p in parts if KINDS[p[0]].all_is_parent and p[2:] == (0, rank)]
        dense = [p for p in parts if p[0] in DENSE]
        ranged = tuple(p for p in parts if p[0] in ADDITIVE and p not in whole)
        total = self._additive(matrix, ranged) if ranged else torch.zeros_like(gap)
        for _, strength, *_ in whole:
            total = total + strength * gap  # no factors, and no roundoff of theirs
        for kind, strength, start, stop in dense:
            inputs = Inputs(
                i=slice(start, stop),
                gap=gap.double(),
                factors=lambda: self._factors(matrix),
                depth=self._depth(matrix),
                generator=lambda kind=kind: seeded(self.stream, kind, matrix.layer, matrix.role),
            )
            total = total + strength * DENSE[kind](inputs).to(torch.float32)
        if dense:
            self.latest[matrix] = (parts, total)
        return total

    def _depth(self, matrix: Matrix) -> float:
        """Return the place of a matrix among the layers, from 0 to 1; 0 outside of them, and 1 in
        the only one."""
        if matrix.layer < 0:
            return 0.0
        return matrix.layer / (self.layers - 1) if self.layers > 1 else 1.0

    def _additive(self, matrix: Matrix, parts: tuple[Part, ...]) -> torch.Tensor:
        """Return the update of additive parts, made from the latest one if that is near."""
        before, total = self.latest.get(matrix, ((), None))
        if [p[:2] for p in before] != [p[:2] for p in parts]:
            before, total = (), None
        steps = _between(before, parts)
        if total is None or _width(steps) > _width(_between((), parts)):
            steps = _between((), parts)
            total = torch.zeros(self.shapes[matrix], dtype=torch.float32, device=self.device)
        if steps:
            columns = self._columns(matrix)
            pairs = [(w, *ADDITIVE[k](slice(None), *columns(a, b))) for k, w, a, b in steps]
            left = torch.cat([w * x for w, x, _ in pairs], 1)
            right = torch.cat([y for *_, y in pairs], 1)
            total += left @ right.T
        self.latest[matrix] = (parts, total)
        return total

    def _columns(self, matrix: Matrix) -> Callable[[int, int], tuple[Factors, Factors]]:
        """Return a function that gives columns `start` to `stop` of the factors of target and
        parent, the latter `aligned`."""
        if not self.pair.single:
            both = self._factors(matrix)
            return lambda start, stop: tuple(_cut(f, slice(start, stop)) for f in both)
        target, parent = self.pair.target_factors, self.pair.parent_factors
        if matrix not in self.turns:
            whole = (f.columns(matrix, 0, min(self.shapes[matrix])) for f in (target, parent))
            self.turns[matrix] = turns(*whole, math.sqrt(self._gap(matrix)))

        def read(start: int, stop: int) -> tuple[Factors, Factors]:
            met = [(i, t) for i, t in self.turns[matrix] if i.start < stop and start < i.stop]
            first = min([start, *(i.start for i, _ in met)])  # a cluster turns as a whole
            last = max([stop, *(i.stop for i, _ in met)])
            found = parent.columns(matrix, first, last)
            for cluster, turn in met:
                i = slice(cluster.start - first, cluster.stop - first)
                found.u[:, i], found.v[:, i] = found.u[:, i] @ turn, found.v[:, i] @ turn
            kept = slice(start - first, stop - first)
            return target.columns(matrix, start, stop), _cut(found, kept)

        return read

    def _factors(self, matrix: Matrix) -> tuple[Factors, Factors]:
        """Return factors of target and parent, the latter `aligned`."""

        def read() -> tuple[Factors, Factors]:
            target, parent = (
                Factors(*(x.to(self.device) for x in (f.u, f.s, f.v)))
                for f in (self.pair.target_factors[matrix], self.pair.parent_factors[matrix])
            )
            return target, aligned(target, parent, math.sqrt(self._gap(matrix)))

        return self._cached("factors", matrix, read, 16 * sum(self.shapes[matrix]))

    def _old_and_gap(self, matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_t and W_p - W_t, float32."""

        def read() -> tuple[torch.Tensor, torch.Tensor]:
            old, new = (
                self._read(sources.read(w, matrix)) for w in (self.pair.target, self.pair.parent)
            )
            return old, new.sub_(old)

        return self._cached("weights", matrix, read, 8 * max(self.shapes[matrix]))

    def _cached(
        self, what: str, matrix: Matrix, read: Callable[[], tuple], row_bytes: int
    ) -> tuple:
        """Return what `read` returns, kept while there is room; its size is `row_bytes` x rank."""
        if (what, matrix) in self.cache:
            return self.cache[what, matrix]
        found, size = read(), row_bytes * min(self.shapes[matrix])
        if size <= self.room:
            self.cache[what, matrix] = found
            self.room -= size
        return found

    def _read(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, torch.float32, copy=True)

    def _gap(self, matrix: Matrix) -> float:
        """Return |W_p - W_t|_F squared."""
        if matrix not in self.gap_squares:
            self.gap_squares[matrix] = _square(self._old_and_gap(matrix)[1])
        return self.gap_squares[matrix]


def _cut(factors: Factors, i: slice) -> Factors:
    return Factors(factors.u[:, i], factors.s[i], factors.v[:, i])


def _between(before: tuple[Part, ...], after: tuple[Part, ...]) -> list[Part]:
    """Return the parts to add, from one update to another of the same kinds and strengths."""
    steps: list[Part] = []
    for i, (kind, strength, start, stop) in enumerate(after):
        a, b = before[i][2:] if before else (start, start)
        steps += _pieces(kind, strength, (start, stop), (a, b))  # to add
        steps += _pieces(kind, -strength, (a, b), (start, stop))  # to take back
    return steps


def _pieces(kind: str, weight: float, of: tuple[int, int], without: tuple[int, int]) -> list[Part]:
    """Return the directions of one range that are not in another, as at most two parts."""
    (start, stop), (a, b) = of, without
    pieces = ((start, min(stop, a)), (max(start, b), stop)) if a < b else ((start, stop),)
    return [(kind, weight, first, end) for first, end in pieces if first < end]


def _width(parts: list[Part]) -> int:
    """Return the number of directions in all parts together."""
    return sum(stop - start for *_, start, stop in parts)


def _square(x: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64)) ** 2
