"""A variant is anything that yields a model's weights under a name.

Whatever evaluates a stream of variants loads the skeleton once and does not know whether weights
came from disk or from an edit made in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from healscope.errors import HealscopeError
from healscope.models import checkpoints


@dataclass(frozen=True)
class Variant:
    """`weights()` returns name -> tensor; names it leaves out keep the skeleton's values.

    `failed` says why there are none, for the checkpoint of a run that failed.
    """

    name: str
    weights: Callable[[], dict[str, torch.Tensor]]
    failed: str = ""


def from_checkpoint(name: str, manifest: str) -> Variant:
    """The variant that reads a checkpoint when its turn comes."""
    return Variant(name, lambda: checkpoints.load_weights(manifest), checkpoints.failure(manifest))


def load_each(model, variants: Iterable[Variant]) -> Iterator[str]:
    """Puts each variant's weights into `model` in place, in turn; yields its name.

    A variant that holds only some tensors changes those; the next one starts again from the
    weights the skeleton came with.
    """
    tensors = model.state_dict()
    original = {k: v.detach().clone() for k, v in tensors.items()}
    for variant in variants:
        weights = variant.weights()
        unknown = set(weights) - set(original)
        if unknown:
            raise HealscopeError(f"{variant.name}: weights unknown to the model: {sorted(unknown)}")
        for key, tensor in weights.items():
            if tensor.shape != original[key].shape:
                raise HealscopeError(
                    f"{variant.name}: {key} has shape {tuple(tensor.shape)}, the model needs "
                    f"{tuple(original[key].shape)}"
                )
        shared = {tensors[k].data_ptr() for k in weights}  # tied tensors: one name is enough
        kept = {k: v for k, v in original.items() if tensors[k].data_ptr() not in shared}
        model.load_state_dict({**kept, **weights}, strict=False)
        yield variant.name
