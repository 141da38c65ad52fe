"""Writes an edited checkpoint as a Hugging Face folder."""

import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from healscope import edit_names, provenance
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.models.stored import Stored, write
from healscope.spectra.factors import load
from healscope.spectra.sweep import Pair, Sweep


def export(
    target: Path,
    parent: Path,
    edit: str,
    out: Path,
    roles: Sequence[str],
    stream: str = "",
    beside: Callable[[dict[str, float]], Mapping[str, str]] | None = None,
) -> dict[str, float]:
    """Write the edited target to the new folder `out`; return its distances from target and parent.

    Tensors keep the target's types and files; all that is not weights is copied from the target.
    `checkpoint.json` holds the edit, its distances and the hashes of all that it came from, and
    makes the folder a checkpoint of healscope. Distances `from_target` and `from_parent` are those
    of the edit in float32, `written_from_target` and `written_from_parent` those of the files.
    `beside` returns name -> text of further files from these, in place of the target's. Raises
    HealscopeError where the two folders do not hold the same architecture, or `out` has files.
    """
    out = out.resolve()
    edit_names.parse(edit)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HealscopeError(f"{out} has files already; choose a new folder for --out")
    weights = Stored(target), Stored(parent)
    factors = [load(w.folder, list(roles)) for w in weights]
    _same_matrices(*weights, list(factors[0]))
    sweep = Sweep(Pair(*weights, *factors), stream, checkpoints.device())
    (variant,) = sweep.variants([edit])
    edited = {name: tensor.cpu().to(weights[0].dtype(name)) for name, tensor in variant.weights()}
    measured = variant.measured | _written(*weights, edited, sweep)
    staged = out.with_name(out.name + ".part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    write(weights[0], edited, staged)
    for name, text in (beside(measured) if beside else {}).items():
        (staged / name).write_text(text, encoding="utf-8")
    inputs = [str(file) for w in weights for file in sorted(set(w.files.values()))]
    config = {"edit": edit, "matrices": list(roles), "stream": stream, **measured}
    record = provenance.record(config, inputs=provenance.hashes(inputs))
    checkpoints.publish(staged, out / checkpoints.MANIFEST, record)
    shutil.rmtree(staged)
    far = {k.replace("_", " "): v for k, v in variant.measured.items()}
    turned = far.pop("turned degrees")
    said = ", ".join(f"{v:.3f} {k}" for k, v in far.items())
    print(
        f"healscope: {edit} is in {out} (distance {said}, of that between the two; singular "
        f"subspaces turned by {turned:.2f} degrees)"
    )
    if away := rounded(measured):
        print(f"healscope: {away}", file=sys.stderr)
    return measured


ROUNDED = 0.05
"""By so much, of its distance, an edit in the files can differ from the one in float32."""


def rounded(measured: Mapping[str, float]) -> str:
    """Return a sentence where the files hold another edit than was computed, as steps of bfloat16
    are larger than many updates; else an empty one."""
    own, written = measured["from_target"], measured["written_from_target"]
    if not abs(written - own) > ROUNDED * own:
        return ""
    return (
        f"the files are rounded to the target's type: the edit goes {written:.2f} of the distance "
        f"in them, where {own:.2f} were computed and measured; evaluate them before use"
    )


def _written(
    target: Stored, parent: Stored, edited: Mapping[str, torch.Tensor], sweep: Sweep
) -> dict[str, float]:
    """Return the distances of what is written, over all matrices that edits see, in units of the
    distance between target and parent."""
    moved = apart = gap = 0.0
    for matrix in sweep.matrices:
        old, back = (matrix.part(w[matrix.name]).double() for w in (target, parent))
        new = matrix.part(edited[matrix.name]).double() if matrix.name in edited else old
        moved += float((new - old).square().sum())
        apart += float((new - back).square().sum())
        gap += float((back - old).square().sum())
    return {
        f"written_from_{end}": math.sqrt(square / gap) if gap else math.nan
        for end, square in (("target", moved), ("parent", apart))
    }


def _same_matrices(target, parent, matrices: list) -> None:
    for matrix in matrices:
        if parent.shapes.get(matrix.name) != target.shapes[matrix.name]:
            raise HealscopeError(
                f"{parent.folder} has no {matrix.name} of the shape that {target.folder} has: the "
                "two folders must hold the same architecture"
            )
