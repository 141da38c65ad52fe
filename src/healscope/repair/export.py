"""Writes an edited checkpoint as a Hugging Face folder."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    beside: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Write the edited target to the new folder `out`; return its distances from target and parent.

    Tensors keep the target's types and files; all that is not weights is copied from the target.
    `checkpoint.json` holds the edit, its distances and the hashes of all that it came from, and
    makes the folder a checkpoint of healscope. `beside`: name -> text of further files, in place of
    the target's. Raises HealscopeError where the two folders do not
    hold the same architecture, or `out` has files.
    """
    edit_names.parse(edit)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HealscopeError(f"{out} has files already; choose a new folder for --out")
    weights = Stored(target), Stored(parent)
    factors = [load(w.folder, list(roles)) for w in weights]
    _same_matrices(*weights, list(factors[0]))
    sweep = Sweep(Pair(*weights, *factors), stream, checkpoints.device())
    (variant,) = sweep.variants([edit])
    edited = {name: tensor.cpu().to(weights[0].dtype(name)) for name, tensor in variant.weights()}
    staged = out.with_name(out.name + ".part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    write(weights[0], edited, staged)
    for name, text in (beside or {}).items():
        (staged / name).write_text(text, encoding="utf-8")
    inputs = [str(file) for w in weights for file in sorted(set(w.files.values()))]
    config = {"edit": edit, "matrices": list(roles), "stream": stream, **variant.measured}
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
    return variant.measured


def _same_matrices(target, parent, matrices: list) -> None:
    for matrix in matrices:
        if parent.shapes.get(matrix.name) != target.shapes[matrix.name]:
            raise HealscopeError(
                f"{parent.folder} has no {matrix.name} of the shape that {target.folder} has: the "
                "two folders must hold the same architecture"
            )
