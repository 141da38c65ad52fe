"""Reads weights that stay on disk, one tensor at a time."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from healscope.config import sources
from healscope.errors import HealscopeError


class Stored(Mapping[str, torch.Tensor]):
    """name -> tensor, on the CPU in its own type, of the weight files of a folder
    (`sources.weight_files`).

    A tensor is read, by memory map, each time it is asked for, and nothing is kept: one that is
    let go of takes no memory. Names come in the order of files, then of the file; `shapes` has
    theirs. Raises HealscopeError where there are no such files, where one is damaged, where two
    hold a tensor of the same name, where a tensor has no values, or, when it is read, where some
    of them are not finite.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        try:
            files = sources.weight_files(self.folder)
        except ValueError as error:
            raise HealscopeError(str(error)) from None
        for file in files:
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
                    f"{file} is missing, which the index beside it names; fetch or make it again"
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
        if empty := [name for name, shape in self.shapes.items() if 0 in shape]:
            raise HealscopeError(
                f"{self.files[empty[0]]} holds {len(empty)} tensors without values (as {empty[0]}, "
                f"of shape {self.shapes[empty[0]]}): it was saved under DeepSpeed's ZeRO-3 without "
                "gathering the parts. Join them from the trainer's folder with `python "
                "zero_to_fp32.py . OUT --safe_serialization`, or save again with "
                "stage3_gather_16bit_weights_on_model_save: true"
            )

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], "pt") as opened:
            tensor = opened.get_tensor(name)
        refuse_not_finite(f"{self.folder}: {name}", tensor)
        return tensor

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


def refuse_not_finite(what: str, tensor: torch.Tensor) -> None:
    """Raises HealscopeError where a tensor of weights holds NaN or infinite values."""
    if tensor.is_floating_point() and not bool((finite := tensor.isfinite()).all()):
        wrong = tensor.numel() - int(finite.sum())
        raise HealscopeError(
            f"{what} is not finite (NaN or infinite in {wrong} of {tensor.numel()} values): "
            "training has diverged, or the file was written wrongly; give another checkpoint"
        )
