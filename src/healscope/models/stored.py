"""Weights that stay on disk: tensors of a Hugging Face folder, read one at a time."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from healscope import provenance
from healscope.errors import HealscopeError

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class Stored(Mapping[str, torch.Tensor]):
    """name -> tensor, on the CPU and of its own type, of the safetensors files in a folder: those
    of the index, the whole model, or else all there are.

    A tensor is read, by memory map, each time it is asked for, and nothing is kept: one that is
    let go of takes no memory. Names come in the order of files, then of the file; `shapes` has
    theirs. Raises HealscopeError where there are no such files, where one is damaged, or where two
    hold a tensor of the same name.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in _shards(self.folder):
            try:
                with safe_open(file, "pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 (not a mapping)
                        if name in self.files:
                            raise HealscopeError(
                                f"{file} and {self.files[name]} both hold {name}; remove one"
                            )
                        self.files[name] = file
                        self.shapes[name] = tuple(opened.get_slice(name).get_shape())
            except FileNotFoundError:
                raise HealscopeError(
                    f"{file} is missing, which {_INDEX} beside it names; fetch or make it again"
                ) from None
            except (SafetensorError, OSError) as error:
                raise HealscopeError(
                    f"{file} is damaged or cut short ({error}); fetch or make it again"
                ) from None
        if not self.files:
            raise HealscopeError(
                f"{folder} holds no weights (no *.safetensors file); save the model there with "
                "save_pretrained, adapters merged, or name another folder"
            )

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], "pt") as opened:
            return opened.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def follow_umask(*files: Path) -> None:
    """Gives files the mode that open() would have given them; safetensors makes them 0600."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in files:
        file.chmod(0o666 & ~mask)


def _shards(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        listed = provenance.read_json(folder / _INDEX)["weight_map"].values()
        return sorted({folder / name for name in listed})
    whole = folder / _WHOLE
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
