"""Engines that generate text: `hf` (transformers, in this process) or `vllm` (in its own process).

Both take new weights in place, so that one of them evaluates many variants, and answer prompts in
token ids with token ids and their log-probabilities.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from healscope.engines.generate import Responses
from healscope.engines.hf import HF
from healscope.engines.options import Pair
from healscope.engines.vllm import VLLM, Process
from healscope.models import checkpoints
from healscope.models.stored import Stored
from healscope.models.tokens import load_tokenizer
from healscope.models.variants import Variant


class Engine(Protocol):
    """The interface of both engines.

    Attributes:
        context: tokens of a prompt and its answer, at most.
        batches: whether prompts must come in batches of a size that fits; else all come at once.
        ends: what the model's files name as `eos_token_id`, see `healscope.models.tokens.end_ids`.
        facts: what of the engine goes into the provenance of its results.
    """

    context: int
    batches: bool
    ends: list[int | list[int] | None]
    facts: dict

    def each(self, variants: Iterable[Variant]) -> Iterator[Variant]:
        """Take the weights of each variant in turn, and yield the variant."""

    def generate(self, prompts: list[list[int]], **settings) -> Responses:
        """As `healscope.engines.generate.generate`, with its settings."""

    def scores(self, pairs: list[Pair], **settings) -> list[tuple[float, bool]]:
        """As `healscope.engines.options.scores`, with its settings."""


@contextmanager
def evaluating(
    start: str, rows: int, process: Process | None, precision: str = "float32"
) -> Iterator[tuple[Engine, object]]:
    """Yield (engine, tokenizer) at the checkpoint with the manifest `start`.

    With a `process` it is vLLM, which works on `rows` answers at a time; else hf, in `precision`.
    Raises HealscopeError.
    """
    folder = Path(start).parent
    if process is None:
        model, tokenizer = checkpoints.load_model(start, precision)
        yield HF(model, Stored(folder)), tokenizer
        return
    checkpoints.verify(start)
    with VLLM(folder, process, rows, process.settings.memory_share) as engine:
        yield engine, load_tokenizer(str(folder))
