"""The same edit as a config of mergekit, where mergekit can make the same weights.

Of trimmed entries the numbers can differ by one in a matrix, as shares are rounded otherwise.

mergekit 0.1.5 scales and trims the update of each tensor, by name and linearly over depth; it knows
no singular values, and its random masks (DARE) are other draws.
"""

from collections.abc import Sequence
from typing import Any

from healscope.edit_names import Edit
from healscope.spectra.matrices import Matrix


def recipe(
    edit: Edit, target: str, parent: str, matrices: Sequence[Matrix], dtype: str
) -> dict[str, Any] | None:
    """Return the config that makes an edit of `target` towards `parent`, folders or hub ids; None
    where mergekit has no such edit.

    `matrices` are those that edits see; all other tensors stay the target's. `dtype` is the type of
    the file, as mergekit names it.
    """
    if len(edit.terms) > 1 or edit.control or any(m.rows for m in matrices):
        return None
    (term,) = edit.terms
    chosen = dict(term.selected)
    roles = chosen.pop("roles", None)
    match term.kind, chosen:
        case "swap", whole if term.everything and not whole.keys() - {"rank", "tail", "band"}:
            method, scaled, key = "task_arithmetic", 1 - term.strength, "weight"
        case "ramp", {} if not chosen:
            method, scaled, key = "task_arithmetic", [1 - term.strength, 1.0], "weight"
        case "trim", {"tail": share} if len(chosen) == 1 and term.strength == 1:
            method, scaled, key = "ties", round(1 - share, 10), "density"
        case _:
            return None
    named = dict.fromkeys(_part_of_name(m.name) for m in matrices if not roles or m.role in roles)
    by_name = [{"filter": name, "value": scaled} for name in named]
    parameters: dict[str, Any] = {"weight": 1.0, key: [*by_name, {"value": 1.0}]}
    return {
        "merge_method": method,
        "base_model": parent,
        "models": [{"model": target, "parameters": parameters}],
        "parameters": {"normalize": False},
        "dtype": "float32",
        "out_dtype": dtype,
    }


def _part_of_name(name: str) -> str:
    """Return what names of this role have in common in all layers, and no bias has, as
    self_attn.q_proj.weight."""
    return ".".join(name.split(".")[-3:])
