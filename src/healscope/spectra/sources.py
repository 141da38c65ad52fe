"""Reads matrices from a checkpoint of a study, or from any local Hugging Face folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from healscope import provenance
from healscope.models import checkpoints, integrity
from healscope.models.stored import Stored
from healscope.spectra.matrices import Matrix, matrices


def weights(source: str | Path) -> Stored:
    """Open `source`: the checkpoint.json of a study, whose files are then verified, or a folder.

    Raises HealscopeError if files are missing or damaged.
    """
    source = Path(source)
    if source.suffix == ".json":
        checkpoints.verify(source)
        source = source.parent
    return Stored(source)


def matrices_of(stored: Stored, roles: Sequence[str] | None) -> list[Matrix]:
    """Return the matrices of these roles (None: of all that there are), by the folder's
    config.json; raise as `matrices`."""
    about = provenance.read_json(stored.config) if stored.config.is_file() else {}
    if about and {"embeddings", "head"} & set(roles or ()):
        integrity.refuse_untied(str(stored.folder), stored)
    return matrices(stored.shapes, roles, about)


def read(tensors: Mapping[str, torch.Tensor], matrix: Matrix) -> torch.Tensor:
    """Return one matrix in its stored type; of a fused projection only its own rows."""
    return matrix.part(tensors[matrix.name])
