"""Provide a model's weights under names: checkpoints, adapters, edits and merges alike.

Evaluation loads the skeleton once, whether weights come from disk or from an edit made in memory.
Weights are copied into it one tensor at a time, so that no second copy of a model is held.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity
from healscope.models.stored import Stored

Weights = Iterable[tuple[str, torch.Tensor]]


@dataclass(frozen=True)
class Variant:
    """Weights under a name. `weights()` yields (name, tensor); tensors that it leaves out stay as
    in the skeleton.

    `failed` says why there are none, for the checkpoint of a run that failed. A `whole` variant may
    leave none out; `manifest` is that of the checkpoint where they lie, if they do. `also` names
    variants that would have the same weights. `measured` holds numbers about the weights, once they
    have been yielded.
    """

    name: str
    weights: Callable[[], Weights]
    failed: str = ""
    whole: bool = False
    manifest: str = ""
    also: tuple[str, ...] = ()
    measured: dict[str, float] = field(default_factory=dict)


def from_checkpoint(name: str, manifest: str | Path) -> Variant:
    """Return the variant of a checkpoint, which is verified and read when its turn comes."""

    def weights() -> Weights:
        checkpoints.verify(manifest)
        yield from Stored(Path(manifest).parent).items()

    failed = checkpoints.failure(manifest)
    return Variant(name, weights, failed, whole=True, manifest=str(manifest))


@torch.no_grad()
def load_each(
    model, variants: Iterable[Variant], start: Mapping[str, torch.Tensor]
) -> Iterator[Variant]:
    """Load each variant's weights into `model` in place, in turn, and yield the variant.

    `start`: the weights that the skeleton came with. A variant that holds only some tensors changes
    those; tensors that the variant before it changed, and it does not, are restored from `start`.
    """
    tensors = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    places = {name: tensor.data_ptr() for name, tensor in tensors.items()}  # tied: one place
    changed: set[int] = set()
    for variant in variants:
        written = set()
        for name, tensor in variant.weights():
            check_weight(variant.name, name, tensor.shape, shapes)
            tensors[name].copy_(tensor)
            written.add(places[name])
            del tensor  # before the next one is made
        if variant.whole:
            missing = [n for n in tensors if places[n] not in written]
            integrity.refuse_other_keys(variant.name, missing=missing)
        for name in start:
            if places.get(name) in changed - written:
                tensors[name].copy_(start[name])
        changed = written
        yield variant


def check_weight(variant: str, name: str, shape: Sequence[int], known: Mapping) -> None:
    """Raise HealscopeError if the model, whose shapes are `known`, has no such weight."""
    if name not in known:
        raise HealscopeError(f"{variant}: a weight unknown to the model: {name}")
    if tuple(shape) != tuple(known[name]):
        raise HealscopeError(
            f"{variant}: {name} has shape {tuple(shape)}, the model needs {tuple(known[name])}"
        )
