"""Weights that stay on disk: tensors of a Hugging Face folder, read one at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from healscope.errors import HealscopeError


class Stored(Mapping[str, torch.Tensor]):
    """name -> tensor, on the CPU and of its own type, of all safetensors files in a folder.

    A tensor is read, by memory map, each time it is asked for, and nothing is kept: one that is
    let go of takes no memory. Names come in the order of files, then of the file.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files: dict[str, Path] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a mapping)
                    self.files[name] = file
        if not self.files:
            raise HealscopeError(f"{folder} holds no weights (no *.safetensors file)")

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], "pt") as opened:
            return opened.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)
