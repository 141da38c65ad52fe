"""Caches the SVDs of a checkpoint's matrices by the content of its weights.

A cache file holds one layer, under a key made from the bytes of that layer's chosen matrices, so
that checkpoints, landmarks and studies that share weights share factors. Each matrix has a checksum
of its own; a file that is missing, truncated or changed is made again from the checkpoint.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models.stored import Stored, follow_umask
from healscope.spectra import sources
from healscope.spectra.decompose import Certificate, Factors, decompose
from healscope.spectra.matrices import Matrix
from healscope.spectra.single import Half, decompose_single

__all__ = ["Certificate", "Decomposed", "Factors", "Matrix", "load", "read", "write"]

FORMAT = 1
"""Part of every key: raise it with any change of factors or their files."""


@dataclass(eq=False)
class Decomposed(Mapping[Matrix, Factors]):
    """The factors of a checkpoint's matrices, by layer, then role.

    Each look-up reads one matrix from the cache (or decomposes its layer into it) and keeps
    nothing; without a cache it decomposes that matrix. `layer_keys` holds the keys of the layers
    seen so far; weights with another key are refused. With `precision` float32 the cache holds half
    of each SVD (`spectra.single`), and a look-up computes the rest from the weights.
    """

    source: str
    listed: tuple[Matrix, ...]
    cache: Path | None
    device: str
    layer_keys: dict[int, str] = field(default_factory=dict)
    opened: Stored | None = None
    precision: str = "float64"
    _checked: set = field(default_factory=set, init=False)  # cache entries found whole before

    def __iter__(self) -> Iterator[Matrix]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, matrix: Matrix) -> Factors:
        return self.certified(matrix)[0]

    def weight(self, matrix: Matrix) -> torch.Tensor:
        """Return the matrix in its stored type; the first call verifies the checkpoint."""
        self.opened = self.opened or sources.weights(self.source)
        return sources.read(self.opened, matrix)

    def certified(self, matrix: Matrix) -> tuple[Factors, Certificate]:
        """Return factors, and the certificate from when they were made."""
        if not self.single:
            return self._kept(matrix)
        half, certificate = self._kept(matrix)
        return half.whole(self.weight(matrix)), certificate

    @property
    def single(self) -> bool:
        """Return whether these are factors in float32."""
        return self.precision == "float32"

    def columns(self, matrix: Matrix, start: int, stop: int) -> Factors:
        """Return columns `start` to `stop` of a matrix's factors, in float32 and on `device`; only
        these are read. For precision float32."""
        half, _ = self._kept(matrix, slice(start, stop))
        moved = (x if x is None else x.to(self.device) for x in half.parts)
        return Half(*moved).columns(self.weight(matrix).to(self.device))

    def certificate(self, matrix: Matrix) -> Certificate:
        """Return the certificate of a matrix's factors, from when they were made."""
        return self._kept(matrix)[1]

    def _kept(
        self, matrix: Matrix, rows: slice = slice(None)
    ) -> tuple[Factors | Half, Certificate]:
        """Return what is kept of a matrix, of half an SVD these `rows`, and the certificate."""
        if matrix not in self.listed:
            raise KeyError(matrix)
        if self.cache is None:
            if not self.single:
                return decompose(self.weight(matrix), self.device)
            half, certificate = decompose_single(self.weight(matrix), self.device)
            return half.rows(rows), certificate
        for _ in range(2):
            file = _file(self.cache, self.key(matrix.layer))
            try:
                return self._read(file, matrix, rows)
            except (OSError, SafetensorError, KeyError, ValueError):  # missing or damaged
                self._make(matrix.layer)
        raise HealscopeError(f"{file} cannot be read back; check the disk, delete it and rerun")

    def key(self, layer: int) -> str:
        """Return the key of a layer; read its weights if it is not known yet."""
        if layer not in self.layer_keys:
            self.layer_keys[layer] = self._key_of({m: self.weight(m) for m in self._of(layer)})
        return self.layer_keys[layer]

    def _key_of(self, chosen: Mapping[Matrix, torch.Tensor]) -> str:
        """Return the sha256 over role, shape, type and bytes of a layer's matrices."""
        single = f" {self.precision}" if self.single else ""
        digest = hashlib.sha256(f"factors {FORMAT}{single}".encode())
        for matrix, weight in chosen.items():
            digest.update(f"|{matrix.role} {tuple(weight.shape)} {weight.dtype}|".encode())
            digest.update(_bytes(weight))
        return digest.hexdigest()

    def _changed(self, layer: int) -> HealscopeError:
        return HealscopeError(
            f"layer {layer} of {self.source} is no longer what its factors were made from; "
            "rerun what made that checkpoint, or delete its factors.json"
        )

    def _of(self, layer: int) -> list[Matrix]:
        return [m for m in self.listed if m.layer == layer]

    def _read(self, file: Path, matrix: Matrix, rows: slice) -> tuple[Factors | Half, Certificate]:
        role = matrix.role
        with safe_open(file, "pt") as stored:
            about = json.loads((stored.metadata() or {})["about"])[role]
            names = [f"{role}.{name}" for name in about.get("parts", "usv")]
            status = file.stat()
            entry = file, role, status.st_mtime_ns, status.st_size
            if entry not in self._checked:
                if _checksum(map(stored.get_tensor, names)) != about["sha256"]:
                    raise ValueError("changed")
                if self.single and _checksum([self.weight(matrix)]) != about["weight"]:
                    raise self._changed(matrix.layer)
                self._checked.add(entry)
            # copied out of the memory map, under which the file must not change
            parts = [
                (stored.get_tensor(n) if rows == slice(None) else stored.get_slice(n)[rows]).clone()
                for n in names
            ]
        made = Half(*parts) if self.single else Factors(*parts)
        return made, Certificate(**about["certificate"])

    def _make(self, layer: int) -> None:
        """Decompose a layer into its cache file; two processes at once do not disturb each other:
        each writes a file of its own, and the last to end gives the name to equal content."""
        chosen = {m: self.weight(m) for m in self._of(layer)}
        key = self._key_of(chosen)
        if key != self.layer_keys.setdefault(layer, key):
            raise self._changed(layer)
        tensors, about = {}, {}
        for matrix, weight in chosen.items():
            if self.single:
                half, certificate = decompose_single(weight, self.device)
                parts = {name: x for name, x in vars(half).items() if x is not None}
                more = {"parts": list(parts), "weight": _checksum([weight])}
            else:
                factors, certificate = decompose(weight, self.device)
                parts, more = vars(factors), {}
            tensors |= {f"{matrix.role}.{name}": x for name, x in parts.items()}
            entry = {"sha256": _checksum(parts.values()), "certificate": asdict(certificate)}
            about[matrix.role] = entry | more
        self.cache.mkdir(parents=True, exist_ok=True)
        part = self.cache / f"{key}.{uuid.uuid4().hex}.part"
        try:
            save_file(tensors, part, {"about": json.dumps(about)})  # more keys have no fixed order
            follow_umask(part)
            part.replace(_file(self.cache, key))
        finally:
            part.unlink(missing_ok=True)


def load(
    source: str | Path,
    roles: list[str],
    cache: str | Path | None = None,
    device: str | None = None,
    precision: str = "float64",
) -> Decomposed:
    """Return the factors of a checkpoint: a study's checkpoint.json or a Hugging Face folder.

    They are computed at the first look-up, on `device` (None: a GPU where there is one), and
    kept in the folder `cache`; without one they are made anew each time. On disk they take
    8 (m + n + 1) r bytes a matrix, r = min(m, n), and with `precision` float32 4 (r + 1) r.

    Raises HealscopeError as `sources.weights` and `sources.matrices_of` do.
    """
    opened = sources.weights(source)
    listed = tuple(sources.matrices_of(opened, roles))
    folder = None if cache is None else Path(cache)
    return Decomposed(
        str(source), listed, folder, device or _device(), opened=opened, precision=precision
    )


def write(manifest: str | Path, stored: Decomposed, record: dict) -> None:
    """Fill the cache with all layers of a checkpoint, then write `manifest`.

    It lists the matrices, the keys of their layers, their certificates, and the relative paths of
    source and cache.
    """
    certificates = [asdict(stored.certificate(m)) for m in stored]
    folder = Path(manifest).parent
    content = {
        "source": os.path.relpath(stored.source, folder),
        "cache": os.path.relpath(stored.cache, folder),
        **({"precision": stored.precision} if stored.single else {}),
        "layers": {str(layer): key for layer, key in stored.layer_keys.items()},
        "matrices": [asdict(m) for m in stored],
        "certificates": certificates,
        "provenance": record,
    }
    provenance.write_json(manifest, content)


def read(manifest: str | Path) -> Decomposed:
    """Return the factors that a manifest lists.

    What the cache lacks is made again from the checkpoint, which is refused if its weights have
    changed since.
    """
    content = provenance.read_json(manifest)
    folder = Path(manifest).parent
    listed = [
        Matrix(m["layer"], m["role"], m["name"], m["rows"] and tuple(m["rows"]))
        for m in content["matrices"]
    ]
    return Decomposed(
        os.path.normpath(folder / content["source"]),
        tuple(listed),
        Path(os.path.normpath(folder / content["cache"])),
        _device(),
        {int(layer): key for layer, key in content["layers"].items()},
        precision=content.get("precision", "float64"),
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _file(cache: Path, key: str) -> Path:
    return cache / f"{key}.safetensors"


def _checksum(tensors: Iterable[torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    return tensor.contiguous().view(torch.uint8).numpy()
