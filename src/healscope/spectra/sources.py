"""Where weights come from: a checkpoint of a study, or any local Hugging Face folder."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.spectra.matrices import Matrix

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Weights:
    """A model's tensors, read one at a time: `files` and `shapes` by tensor name, and its
    config.json."""

    files: dict[str, Path]
    shapes: dict[str, tuple[int, ...]]
    config: dict

    def read(self, matrix: Matrix) -> torch.Tensor:
        """One matrix in its stored type, on the CPU; of a fused projection only its own rows."""
        start, stop = matrix.rows or (0, None)
        with safe_open(self.files[matrix.name], "pt") as file:
            return file.get_slice(matrix.name)[start:stop]


def weights(source: str | Path) -> Weights:
    """Opens `source`: the checkpoint.json of a study, whose files are then verified, or a folder.

    Raises HealscopeError where there are no safetensors, where they are damaged, or where two of
    them hold a tensor of the same name.
    """
    source = Path(source)
    if source.suffix == ".json":
        checkpoints.verify(source)
    folder = source.parent if source.suffix == ".json" else source
    files: dict[str, Path] = {}
    shapes = {}
    for path in _shards(folder):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (a safe_open is no mapping)
                    if name in files:
                        raise HealscopeError(
                            f"{path} and {files[name]} both hold {name}; remove one of them"
                        )
                    files[name] = path
                    shapes[name] = tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise HealscopeError(
                f"{path} is damaged or cut short ({error}); fetch or make it again"
            ) from None
    config = folder / "config.json"
    return Weights(files, shapes, provenance.read_json(config) if config.is_file() else {})


def _shards(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        listed = provenance.read_json(folder / _INDEX)["weight_map"].values()
        return sorted({folder / name for name in listed})
    whole = folder / checkpoints.WEIGHTS
    found = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    if not found:
        raise HealscopeError(
            f"{folder} holds no safetensors; save the model there with save_pretrained (adapters "
            "merged) or name another folder"
        )
    return found
