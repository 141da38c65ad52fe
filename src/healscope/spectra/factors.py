"""Thin SVDs W = U diag(s) V' of a checkpoint's weight matrices, in float64, one file per layer."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.errors import HealscopeError

ROLES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_NAME = re.compile(r"layers\.(\d+)\.(self_attn|mlp)\.(\w+)\.weight$")


@dataclass(frozen=True)
class Matrix:
    """Where a weight matrix sits: decoder layer (from 0), role, and name in the state dict."""

    layer: int
    role: str
    name: str


@dataclass(frozen=True)
class Factors:
    """U (m, r), s (r,) descending, V (n, r), float64; r = min(m, n)."""

    u: torch.Tensor
    s: torch.Tensor
    v: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """U diag(s) V', (m, n) float64."""
        return (self.u * self.s) @ self.v.T


def matrices(names: list[str], roles: list[str]) -> list[Matrix]:
    """The decoder matrices of the given roles among parameter names, by layer.

    Raises HealscopeError when a role is absent (a fused or renamed projection).
    """
    of_module = {module: role for role, module in ROLES.items()}
    found = []
    for name in names:
        if match := _NAME.search(name):
            role = of_module.get(f"{match[2]}.{match[3]}")
            if role in roles:
                found.append(Matrix(int(match[1]), role, name))
    missing = [r for r in roles if r not in {m.role for m in found}]
    if missing:
        raise HealscopeError(f"spectra.matrices: the model has no matrix of role {missing}")
    return sorted(found, key=lambda m: (m.layer, list(ROLES).index(m.role)))


def decompose(weight: torch.Tensor) -> Factors:
    """Thin SVD by LAPACK in float64. The result is checked: W must come back to roundoff."""
    w = weight.detach().to(torch.float64)
    if not torch.isfinite(w).all():
        raise HealscopeError("a weight matrix holds NaN or infinity; the checkpoint is not usable")
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    factors = Factors(u, s, vh.T.contiguous())
    error = torch.linalg.matrix_norm(factors.matrix() - w)
    if error > 1e-11 * torch.linalg.matrix_norm(w):
        raise HealscopeError(f"the SVD of a {tuple(w.shape)} matrix is off by {error:.1e}")
    return factors


def write(manifest: str | Path, weights: dict, roles: list[str], record: dict) -> None:
    """Decomposes the chosen matrices into `layer-N.safetensors` beside `manifest`, written last."""
    folder = Path(manifest).parent
    folder.mkdir(parents=True, exist_ok=True)
    chosen = matrices(list(weights), roles)
    files = {}
    for layer in sorted({m.layer for m in chosen}):
        tensors = {}
        for matrix in (m for m in chosen if m.layer == layer):
            f = decompose(weights[matrix.name])
            tensors |= {f"{matrix.role}.u": f.u, f"{matrix.role}.s": f.s, f"{matrix.role}.v": f.v}
        file = folder / f"layer-{layer}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, file)
        files[file.name] = provenance.sha256(file)
    listed = [[m.layer, m.role, m.name] for m in chosen]
    provenance.write_json(manifest, {"files": files, "matrices": listed, "provenance": record})


def read(manifest: str | Path) -> dict[Matrix, Factors]:
    """Matrix -> factors; a file that differs from the manifest is refused by name."""
    content = provenance.read_json(manifest)
    folder = Path(manifest).parent
    tensors = {}
    for name, expected in content["files"].items():
        file = folder / name
        if not file.is_file() or provenance.sha256(file) != expected:
            raise HealscopeError(f"{file} is missing or changed; delete {manifest} and rerun")
        tensors[name] = load_file(file)
    found = {}
    for layer, role, name in content["matrices"]:
        stored = tensors[f"layer-{layer}.safetensors"]
        found[Matrix(layer, role, name)] = Factors(*(stored[f"{role}.{x}"] for x in "usv"))
    return found
