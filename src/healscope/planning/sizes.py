"""Sizes of models, from their configs; nothing is downloaded."""

import json
from dataclasses import dataclass
from pathlib import Path

from healscope.config import Model, Spectra
from healscope.errors import HealscopeError
from healscope.planning import constants as c
from healscope.tasks import Task


@dataclass(frozen=True)
class Size:
    """A Llama-like decoder."""

    hidden: int
    layers: int
    kv: int
    ffn: int
    vocabulary: int
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Number of parameters, without norms and biases, which are a thousandth of it."""
        layer = 2 * self.hidden * (self.hidden + self.kv) + 3 * self.hidden * self.ffn
        return self.layers * layer + (2 - self.tied) * self.vocabulary * self.hidden

    @property
    def weight_bytes(self) -> float:
        """Return the bytes of a checkpoint."""
        return c.MASTER.value * self.parameters

    def matrices(self, roles: list[str]) -> list[tuple[int, int]]:
        """Return (rows, columns) of all matrices of these roles."""
        h, found = self.hidden, []
        shapes = {"q": (h, h), "k": (self.kv, h), "v": (self.kv, h), "o": (h, h)}
        shapes |= {"gate": (self.ffn, h), "up": (self.ffn, h), "down": (h, self.ffn)}
        for role in roles:
            outside = role in ("embeddings", "head")
            shape = (self.vocabulary, h) if outside else shapes[role]
            found += [shape] * (1 if outside else self.layers)
        return found

    def factor_bytes(self, spectra: Spectra) -> float:
        shapes = self.matrices(spectra.matrices)
        if spectra.precision == "float32":
            return sum(c.FACTOR.value / 2 * (min(s) + 1) * min(s) for s in shapes)
        return sum(c.FACTOR.value * (m + n + 1) * min(m, n) for m, n in shapes)

    def svd_flops(self, roles: list[str]) -> float:
        """Return the FLOPs of the Gram matrix, its eigenvectors (9 n^3), and the other side, of
        every matrix."""
        found = ((max(shape), min(shape)) for shape in self.matrices(roles))
        return sum(4 * m * n * n + 9 * n**3 for m, n in found)


KNOWN = {  # from each model's config.json on the hub
    "llama-3.1-8b": Size(4096, 32, 1024, 14336, 128256),
    "llama-3.2-1b": Size(2048, 16, 512, 8192, 128256, tied=True),
    "llama-3.2-3b": Size(3072, 28, 1024, 8192, 128256, tied=True),
    "llama-3.2-11b-vision": Size(4096, 32, 1024, 14336, 128256),  # without cross-attention
    "qwen2.5-0.5b": Size(896, 24, 128, 4864, 151936, tied=True),
    "qwen2.5-1.5b": Size(1536, 28, 256, 8960, 151936, tied=True),
    "qwen2.5-3b": Size(2048, 36, 256, 11008, 151936, tied=True),
    "qwen2.5-7b": Size(3584, 28, 512, 18944, 152064),
}

PROMPT_CHARACTERS, ANSWER_CHARACTERS = 630, 92  # of four cards, as JSON: their means in this code
TEMPLATE_TOKENS = 30  # of a chat: headers, system line
PUBLISHED_TOKENS = TEMPLATE_TOKENS + (PROMPT_CHARACTERS + ANSWER_CHARACTERS) / c.TOKEN.value


def size_of(name: str, model: Model, task: Task) -> Size:
    """Return the size of a model that is trained on a task.

    Raises HealscopeError where neither the config nor a folder here says it.
    """
    if model.scratch:
        a = model.scratch.architecture
        return Size(a.hidden_size, a.layers, a.hidden_size, a.ffn_size, _vocabulary(task))
    file = Path(model.source) / "config.json"
    if file.is_file():
        return _read(json.loads(file.read_text(encoding="utf-8")))
    key = model.source.rpartition("/")[2].lower().removeprefix("meta-").removesuffix("-instruct")
    if key not in KNOWN:
        raise HealscopeError(
            f"models.{name}: the plan does not know how large '{model.source}' is; download it and "
            "give its folder as source"
        )
    return KNOWN[key]


def _vocabulary(task: Task) -> int:
    if task.rendering == "compact":
        return 4 + len(task.words())  # and special ones
    return 473  # as the tokenizer of four-card prompts comes out


def _read(config: dict) -> Size:
    text = config.get("text_config") or config
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    per_head = text.get("head_dim") or hidden // heads
    return Size(
        hidden,
        text["num_hidden_layers"] - len(text.get("cross_attention_layers") or ()),
        (text.get("num_key_value_heads") or heads) * per_head,
        text["intermediate_size"],
        text["vocab_size"],
        bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings")),
    )


def tokens(task: Task, model: Model) -> tuple[float, float]:
    """Return the tokens of (a prompt, an answer) of a task."""
    prompt, answer = task.lengths()
    if task.rendering == "compact":  # every word is a token, and so is how a text begins or ends
        return 1 + prompt, 1 + answer
    if model.scratch:  # every character of an answer is about a token
        return prompt / 2.7, answer / 1.2
    return TEMPLATE_TOKENS + prompt / c.TOKEN.value, answer / c.TOKEN.value


def training_speed() -> float:
    """Return FLOP/s of one H100 in training: the published run's share of peak, on a newer GPU."""
    parameters = KNOWN["llama-3.2-11b-vision"].parameters
    done = c.RECOMPUTED.value * parameters * c.PUBLISHED_BATCH.value * PUBLISHED_TOKENS
    share = done / c.PUBLISHED_STEP.value / c.PUBLISHED_GPUS.value / c.A100_PEAK.value
    return share * c.H100_PEAK.value


def generation_speed(engine: str) -> float:
    """Return FLOP/s of one H100 in generation, at 2 FLOP per parameter and token."""
    fast = c.FORWARD.value * c.VLLM_PARAMETERS.value * c.VLLM_TOKENS.value
    return fast if engine == "vllm" else fast / c.HF_SLOWER.value
