"""Read weights that stay on disk, one tensor at a time."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from healscope import provenance
from healscope.config import adapters as adapter_files
from healscope.config import json_files, sources, tensors
from healscope.errors import HealscopeError
from healscope.models import adapters, hub, rows

MANIFEST = "checkpoint.json"
"""File of a checkpoint of a study: its files with their hashes, how they are read (`reading`)."""

LOGITS = "logits.json"
"""File of a checkpoint folder: what the model said to a stored prompt when it was saved."""


class Stored(Mapping[str, torch.Tensor]):
    """name -> tensor, on the CPU in its own type, of the weight files of a folder
    (`sources.weight_files`), under the names that the model has for them (`tensors.of_model`).

    A tensor is read by memory map each time it is asked for, and nothing is kept in memory. Names
    come in the order of files, then of the file; `shapes` has theirs.

    The folder of a PEFT adapter is that of its base with the adapter merged, matrix by matrix, in
    float32. Its base is in the folder `base`, or in that which `reading` of its checkpoint.json
    names, else it is the model that adapter_config.json names. Where `reading` has a number of
    rows, embeddings and output layer have so many (`rows.fitted`). `notes` are sentences about what
    is read otherwise than it lies there; `as_it_lies`: nothing is.

    Raises HealscopeError where there are no such files, where one is damaged, where two hold a
    tensor of the same name, where a tensor has no values, or, when it is read, where some of them
    are not finite.
    """

    def __init__(self, folder: str | Path, base: Path | None = None):
        self.folder = Path(folder)
        self.config = self.folder / "config.json"
        self.adapter = None
        manifest = self.folder / MANIFEST
        reading = provenance.read_json(manifest).get("reading", {}) if manifest.is_file() else {}
        self.rows: int | None = reading.get("rows")
        if sources.is_adapter(self.folder):
            beside = reading.get("base")
            self._open_adapter(base or (beside and self.folder / beside))
        else:
            self._open_files()
        if self.rows is not None:
            own = self.vocabulary
            if own not in (None, self.rows):
                self.notes = (*self.notes, rows.note(own, self.rows))
            for name, shape in self.shapes.items():
                if tensors.has_rows(name):
                    self.shapes[name] = (self.rows, *shape[1:])

    def _open_adapter(self, base: Path | None) -> None:
        self.base = Stored(_base(self.folder, base))
        place = self.base.config.parent
        self.adapter = adapters.Adapter(self.folder, self.base, self.base.shapes, place)
        self.files, self.shapes = dict(self.base.files), dict(self.adapter.shapes)
        self.config, self.notes = self.base.config, self.base.notes

    def _open_files(self) -> None:
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
                f"{self.folder} holds no weights (no *.safetensors file); save the model there "
                "with save_pretrained, or name another folder"
            )
        if empty := [name for name, shape in self.shapes.items() if 0 in shape]:
            raise HealscopeError(
                f"{self.files[empty[0]]} holds {len(empty)} tensors without values (as {empty[0]}, "
                f"of shape {self.shapes[empty[0]]}): it was saved under DeepSpeed's ZeRO-3 without "
                "gathering the parts. Join them from the trainer's folder with `python "
                "zero_to_fp32.py . OUT --safe_serialization`, or save again with "
                "stage3_gather_16bit_weights_on_model_save: true"
            )
        try:
            found = tensors.of_model(self.files, whole="text_config" in self._about())
        except ValueError as error:
            raise HealscopeError(f"{self.folder}: {error}") from None
        self.called, self.notes = dict(found.stored), found.notes
        self.files = {name: self.files[old] for name, old in self.called.items()}
        self.shapes = {name: self.shapes[old] for name, old in self.called.items()}

    def _about(self) -> dict:
        return json_files.read(self.config) if self.config.is_file() else {}

    @property
    def vocabulary(self) -> int | None:
        """Return the number of rows of the embeddings, one for each token; None if no tensor is
        known to have them."""
        return next((s[0] for n, s in self.shapes.items() if tensors.has_rows(n)), None)

    @property
    def as_it_lies(self) -> bool:
        """Return whether any program that reads the files finds the same tensors, under the same
        names."""
        return self.adapter is None and not self.notes

    @cached_property
    def tied(self) -> dict[str, str]:
        """Return the name of the embeddings -> that of the output layer and the reverse, where the
        files hold both and config.json says that they are one matrix; else nothing."""
        embeddings = next((n for n in self if n.endswith(tensors.EMBEDDINGS)), None)
        head = next((n for n in self if n.endswith("lm_head.weight")), None)
        if not embeddings or not head or self.shapes[embeddings] != self.shapes[head]:
            return {}
        from transformers import AutoConfig  # what a config leaves out is known to its class alone

        config = AutoConfig.from_pretrained(self.config.parent, trust_remote_code=False)
        one = config.get_text_config().tie_word_embeddings
        return {embeddings: head, head: embeddings} if one else {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if self.adapter is None:
            with safe_open(self.files[name], "pt") as opened:
                tensor = opened.get_tensor(self.called[name])
        else:
            tensor = self.adapter.merged(name)
        refuse_not_finite(f"{self.folder}: {name}", tensor)
        return rows.fitted(tensor, self.rows) if tensors.has_rows(name) else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor in its file; of what an adapter changes, in the base's."""
        return self[name].dtype if self.adapter is None else self.base.dtype(name)


def _base(folder: Path, base: Path | None) -> Path:
    """Return the folder of an adapter's base: `base`, or the one that the adapter names."""
    if base is not None:
        return Path(base)
    named = adapter_files.base_of(folder)
    if named is None:
        raise HealscopeError(
            f"{folder / adapter_files.CONFIG} names no base; write base_model_name_or_path there"
        )
    if sources.folder(named).is_dir():
        return sources.folder(named)
    return hub.folder(named)


def write(stored: Stored, changed: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write a model to `folder` as any program reads it: weights in as many files as they came
    from, in their types, with the tensors of `changed` in place, and all else of its folder.

    Embeddings that are tied to the output layer are written under both names, where both are there.
    Adapters are merged. What healscope writes of a checkpoint (manifest, logits) stays behind.
    """
    index, changed = {}, dict(changed)
    if any(name in changed for name in stored if of_words(name)):
        for name, other in stored.tied.items():
            if name in changed and other not in changed:
                changed[other] = changed[name].clone()
    for file in sorted(set(stored.files.values())):
        held = [name for name, place in stored.files.items() if place == file]
        kept = {
            n: (changed[n] if n in changed else stored[n]).to(stored.dtype(n)).contiguous()
            for n in held
        }
        save_file(kept, folder / file.name, metadata={"format": "pt"})
        index |= dict.fromkeys(held, file.name)
    beside = [stored.folder] if stored.adapter is None else [stored.config.parent, stored.folder]
    for place in beside:
        unread = {file.name for file in sources.not_of_the_model(place)}
        left = {*unread, *sources.NOT_OF_MODELS, LOGITS}
        left |= {"README.md"} if stored.adapter else set()  # the adapter's speaks of an adapter
        for file in sorted(place.iterdir()):
            weights = (
                file.suffix in (".safetensors", ".bin", ".pt", ".pth") or file.name == sources.INDEX
            )
            if file.is_file() and not weights and file.name not in left:
                shutil.copy2(file, folder / file.name)
    if len(set(index.values())) > 1:
        size = sum((folder / file).stat().st_size for file in set(index.values()))
        content = {"metadata": {"total_size": size}, "weight_map": index}
        (folder / sources.INDEX).write_text(json.dumps(content, indent=2), encoding="utf-8")
    about = stored._about()
    text = about.get("text_config") or about
    if text.get("vocab_size", stored.vocabulary) != stored.vocabulary and not stored.as_it_lies:
        text["vocab_size"] = stored.vocabulary
        file = folder / "config.json"
        file.unlink(missing_ok=True)
        file.write_text(json.dumps(about, indent=2), encoding="utf-8")


def of_words(name: str) -> bool:
    """Return whether a tensor is the embeddings or the output layer, by its name."""
    return name.endswith((*tensors.EMBEDDINGS, "lm_head.weight"))


def follow_umask(*files: Path) -> None:
    """Give files the mode that open() would have given them; safetensors makes them 0600."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in files:
        file.chmod(0o666 & ~mask)


def refuse_not_finite(what: str, tensor: torch.Tensor) -> None:
    """Raise HealscopeError where a tensor of weights holds NaN or infinite values."""
    if tensor.is_floating_point() and not bool((finite := tensor.isfinite()).all()):
        wrong = tensor.numel() - int(finite.sum())
        raise HealscopeError(
            f"{what} is not finite (NaN or infinite in {wrong} of {tensor.numel()} values): "
            "training has diverged, or the file was written wrongly; give another checkpoint"
        )
