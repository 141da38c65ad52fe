"""Engine `hf`: transformers, in this process, in float32 or bfloat16."""

from collections.abc import Iterable, Iterator, Mapping

import torch

from healscope.engines.generate import Responses, generate
from healscope.engines.options import Pair, scores
from healscope.models import tokens
from healscope.models.variants import Variant, load_each


class HF:
    """The engine of a transformers model. `start` holds its initial weights, if it takes others."""

    batches = True

    def __init__(self, model, start: Mapping[str, torch.Tensor] | None = None):
        self.model, self.start = model.eval(), start or {}

    @property
    def facts(self) -> dict:
        """What of it goes into records: a precision that is not float32. Versions of torch and
        transformers are in every record."""
        precision = str(self.model.dtype).removeprefix("torch.")
        return {} if precision == "float32" else {"name": "hf", "precision": precision}

    @property
    def context(self) -> int:
        text = self.model.config.get_text_config()
        return getattr(text, "max_position_embeddings", None) or 1 << 30

    @property
    def ends(self) -> list[int | list[int] | None]:
        return tokens.model_ends(self.model)

    def each(self, variants: Iterable[Variant]) -> Iterator[Variant]:
        return load_each(self.model, variants, self.start)

    def generate(self, prompts: list[list[int]], **settings) -> Responses:
        return generate(self.model, prompts, **settings)

    def scores(self, pairs: list[Pair], **settings) -> list[tuple[float, bool]]:
        return scores(self.model, pairs, **settings)
