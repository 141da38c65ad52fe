"""Finds the weight matrices of a language model: layer, role, name and rows.

Known are decoders like Llama's (Llama, Mistral, Qwen2/3, Gemma, Phi-3, and the language part
of their vision models). A matrix is found by its name, never by its shape.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from healscope.errors import HealscopeError

OUTSIDE = -1
"""`layer` of the embeddings and of the head, which belong to no decoder layer."""

_MODULES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_FUSED = {"self_attn.qkv_proj": ("q", "k", "v"), "mlp.gate_up_proj": ("gate", "up")}
ROLES = (*_MODULES, "embeddings", "head")
"""Every role, in the order in which matrices of a layer are listed."""

_OF_MODULE = {module: (role,) for role, module in _MODULES.items()} | _FUSED
_IN_LAYER = re.compile(r"^(?P<prefix>.*?)\blayers\.(?P<layer>\d+)\.(?P<module>.+)\.weight$")
_EMBEDDINGS = re.compile(r"(^|\.)(embed_tokens|wte)\.weight$")
_HEAD = re.compile(r"(^|\.)lm_head\.weight$")
_OTHER_TOWER = re.compile(r"vision|visual|image|audio|encoder|speech")


@dataclass(frozen=True)
class Matrix:
    """The place of a weight matrix: decoder layer (from 0; OUTSIDE for embeddings and head), role,
    name in the state dict, and its rows (start, stop) where that tensor holds several matrices."""

    layer: int
    role: str
    name: str
    rows: tuple[int, int] | None = None

    def part(self, tensor):
        """Return the matrix in the tensor of its name: all of it, or a view of its rows."""
        return tensor if self.rows is None else tensor[slice(*self.rows)]


def matrices(
    shapes: Mapping[str, Sequence[int]],
    roles: Sequence[str] | None,
    config: Mapping | None = None,
) -> list[Matrix]:
    """Return the matrices of the given roles, by layer and then in the order of ROLES.

    `roles` None: all that the model has.

    `shapes`: parameter name -> shape. `config`: the model's config.json, which says how fused
    projections are divided and whether the head is tied; it may be left out where neither matters.
    A tied head is the embeddings and is listed once: as embeddings where these are asked for, else
    as head. Vision and audio towers are no language layers, nor are layers of cross-attention.

    Raises HealscopeError if a role is absent, if two matrices have one (layer, role), or if a fused
    projection does not have the rows that the config says.
    """
    config = dict(config or {})
    config |= config.get("text_config") or {}
    wanted = set(ROLES if roles is None else roles)
    found = [*_in_layers(shapes, config), *_outside(shapes, config, wanted)]
    asked = [m for m in found if m.role in wanted]
    tied = {"embeddings", "head"} <= wanted and _tied(shapes, config)
    missing = [
        r for r in roles or () if r not in {m.role for m in asked} and not (r == "head" and tied)
    ]
    if missing:
        raise HealscopeError(
            f"the model has no matrix of role {', '.join(missing)}: leave it out of "
            f"spectra.matrices (roles known by name: {', '.join(ROLES)})"
        )
    seen: dict[tuple[int, str], Matrix] = {}
    for matrix in asked:
        other = seen.setdefault((matrix.layer, matrix.role), matrix)
        if other is not matrix:
            raise HealscopeError(
                f"two matrices would be {matrix.role} of layer {matrix.layer}: {other.name} and "
                f"{matrix.name}; only one language decoder can be analysed"
            )
    return sorted(asked, key=lambda m: (m.layer, ROLES.index(m.role)))


def _in_layers(shapes: Mapping, config: Mapping) -> list[Matrix]:
    parts = [(name, _IN_LAYER.match(name)) for name in shapes]
    matched = [(n, m["prefix"], int(m["layer"]), m["module"]) for n, m in parts if m]
    crossing = {
        (prefix, layer) for _, prefix, layer, module in matched if module.startswith("cross_attn")
    }
    found = []
    for name, prefix, layer, module in matched:
        if _OTHER_TOWER.search(prefix) or (prefix, layer) in crossing:
            continue
        roles = _OF_MODULE.get(module, ())
        rows = _rows(name, shapes[name], roles, config) if len(roles) > 1 else [None]
        found += [Matrix(layer, role, name, r) for role, r in zip(roles, rows, strict=False)]
    return found


def _rows(name: str, shape: Sequence[int], roles: tuple, config: Mapping) -> list[tuple[int, int]]:
    """Return (start, stop) of each matrix that a fused projection stacks."""
    try:
        if roles == ("gate", "up"):
            sizes = [config["intermediate_size"]] * 2
        else:
            heads = config["num_attention_heads"]
            per_head = config.get("head_dim") or config["hidden_size"] // heads
            shared = (config.get("num_key_value_heads") or heads) * per_head
            sizes = [heads * per_head, shared, shared]
    except KeyError as error:
        raise HealscopeError(
            f"{name} holds several matrices, and config.json has no {error} to divide it by"
        ) from None
    if sum(sizes) != shape[0]:
        raise HealscopeError(
            f"{name} has {shape[0]} rows where config.json makes {' + '.join(map(str, sizes))}; "
            "check that config.json belongs to these weights"
        )
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _outside(shapes: Mapping, config: Mapping, roles: set[str]) -> list[Matrix]:
    """Return embeddings and head; a tied head as embeddings, if both roles are asked for."""
    language = [name for name in shapes if not _OTHER_TOWER.search(name)]
    embeddings = [name for name in language if _EMBEDDINGS.search(name)]
    if _tied(shapes, config):
        heads = [] if "embeddings" in roles else embeddings
    else:
        heads = [name for name in language if _HEAD.search(name)]
    return [
        *(Matrix(OUTSIDE, "embeddings", name) for name in embeddings),
        *(Matrix(OUTSIDE, "head", name) for name in heads),
    ]


def _tied(shapes: Mapping, config: Mapping) -> bool:
    return bool(config.get("tie_word_embeddings")) or not any(_HEAD.search(n) for n in shapes)
