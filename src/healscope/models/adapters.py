"""PEFT adapters, merged into their base one matrix at a time.

PEFT does the arithmetic of LoRA, rsLoRA and DoRA. It gets the base's modules without their weights,
and the adapter's own tensors; each matrix of the base is lent to it while it is merged, in float32.
So beside the adapter one matrix is in memory, and no merged model on disk.
"""

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from healscope.config import adapters, tensors
from healscope.errors import HealscopeError
from healscope.models import rows, skeletons

_NAME = "default"  # what PEFT calls an adapter that is given no name
_HEAD = "lm_head.weight"
_OF_ADAPTERS = ("lora_", "modules_to_save", "trainable_tokens_delta")  # parts of names in a model


class Adapter:
    """The adapter in a folder, on a base: its tensors by name, their shapes, and the folder of its
    config.json.

    `shapes`: name -> shape of the merged model's tensors. Raises HealscopeError if the adapter is
    half written, of a kind that is not merged, or for another base.
    """

    def __init__(
        self,
        folder: Path,
        base: Mapping[str, torch.Tensor],
        shapes: tensors.Shapes,
        config: Path,
    ):
        self.folder, self.base, self.config = folder, base, config
        try:
            adapters.check(folder)
            self.own = adapters.shapes(folder)
            adapters.refuse_another_base(self.own, shapes)
        except ValueError as error:
            raise HealscopeError(f"{folder}: {error}") from None
        before = next((s[0] for n, s in shapes.items() if tensors.has_rows(n)), None)
        self.rows = adapters.rows(self.own) or before
        self.shapes = {
            name: (self.rows, *shape[1:]) if tensors.has_rows(name) else shape
            for name, shape in shapes.items()
        }

    @functools.cached_property
    def _modules(self) -> torch.nn.Module:
        """The base's modules with the adapter in them; weights of the base take no memory."""
        from peft import PeftConfig, get_peft_model
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        with torch.device("meta"):
            model = skeletons.empty(self.config, self.rows)
        for path, module in model.named_modules():
            for key, weight in module._parameters.items():
                if weight is not None:
                    real = f"{path}.{key}" in self.own  # what the adapter replaces as a whole
                    blank = torch.zeros(weight.shape if real else ()).expand(weight.shape)
                    module._parameters[key] = torch.nn.Parameter(blank, requires_grad=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = get_peft_model(model, PeftConfig.from_pretrained(str(self.folder)))
            loaded = load_peft_weights(str(self.folder), device="cpu")
            state = set_peft_model_state_dict(wrapped, loaded)
        missing = [k for k in state.missing_keys if any(part in k for part in _OF_ADAPTERS)]
        missing = [k for k in missing if "lm_head.token_adapter" not in k]  # tied: held once
        if missing or state.unexpected_keys:
            what = "lacks" if missing else "holds what its configuration does not name:"
            first, *others = sorted(missing or state.unexpected_keys)
            raise HealscopeError(
                f"{self.folder}: the adapter {what} {first}{', …' if others else ''}: it is half "
                "written, or for another model; give another checkpoint"
            )
        return wrapped.get_base_model()

    @torch.no_grad()
    def merged(self, name: str) -> torch.Tensor:
        """Return a tensor of the base with the adapter applied: in float32 where it changes it,
        else as it is in the base."""
        if name == self.embeddings:
            self._refuse_apart()
        return self._merged(name)

    def _merged(self, name: str) -> torch.Tensor:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

        path, _, kind = name.rpartition(".")
        module = self._modules.get_submodule(path)
        if isinstance(module, ModulesToSaveWrapper):
            return module.modules_to_save[_NAME].get_parameter(kind).detach().float()
        if isinstance(module, TrainableTokensWrapper):
            return self._merged_layer(module.token_adapter, path, kind)
        if isinstance(module, BaseTunerLayer):
            return self._merged_layer(module, path, kind)
        if name in self.own:
            return module.get_parameter(kind).detach().float()
        return self._of_base(name)

    @functools.cached_property
    def embeddings(self) -> str | None:
        """Return the name of the embeddings."""
        return next((n for n in self.base if n.endswith(tensors.EMBEDDINGS)), None)

    def _refuse_apart(self) -> None:
        """Refuse an adapter that makes two of embeddings and output layer, which its base ties."""
        if _HEAD in self.base or not (self._wraps(self.embeddings) or self._wraps(_HEAD)):
            return  # `integrity.refuse_untied` compares the two where both are stored
        one, two = (self._merged(name).float() for name in (self.embeddings, _HEAD))
        if not one.equal(two):
            raise HealscopeError(
                f"{self.folder}: its base ties the output layer to the embeddings, and the adapter "
                "makes them two. Give a base that keeps them apart: load it, set "
                "model.config.tie_word_embeddings = False and model.lm_head.weight = torch.nn."
                "Parameter(model.lm_head.weight.detach().clone()), and save it with save_pretrained"
            )

    def _wraps(self, name: str) -> bool:
        """Return whether the adapter has a layer of its own in place of the one with this
        weight."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        module = self._modules.get_submodule(name.rpartition(".")[0])
        return isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper))

    def _of_base(self, name: str) -> torch.Tensor:
        tied = name == _HEAD and name not in self.base
        tensor = self.base[self.embeddings if tied else name]
        return rows.fitted(tensor, self.rows) if tensors.has_rows(name) else tensor

    def _merged_layer(self, layer, path: str, kind: str) -> torch.Tensor:
        """Lend a layer of PEFT the base's weights, merge, and take them back."""
        inside = layer.get_base_layer()
        blank = dict(inside.named_parameters(recurse=False))
        for key, weight in blank.items():
            given = f"{path}.{key}" in self.own
            real = weight.detach() if given else self._of_base(f"{path}.{key}")
            lent = torch.nn.Parameter(real.to(torch.float32, copy=True), requires_grad=False)
            setattr(inside, key, lent)
        layer.merge(adapter_names=[_NAME])
        found = inside.get_parameter(kind).detach()
        layer.merged_adapters.clear()
        getattr(layer, "_caches", {}).clear()  # what only a merge that is taken back needs
        for key, weight in blank.items():
            setattr(inside, key, weight)
        return found
