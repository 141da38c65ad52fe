"""Convert prompts and responses to token ids, in one way for training and every engine.

Tokenizers are loaded as PreTrainedTokenizerFast: the automatic class silently swaps a custom
pre-tokenizer in some architectures.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache

import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from healscope.errors import HealscopeError
from healscope.tasks.conversation import Message, messages_of
from healscope.tasks.responses import Marks

TODAY = datetime(2024, 7, 26)
"""The day that chat templates are told it is, so that a study asks the same prompts on every day.

Templates that write the date into a system turn, as those of Llama 3.1 and 3.2, take this one where
they are told none.
"""

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
_TAIL = 16  # tokens of a prompt's end that hold a mark of a chat template


def word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are whitespace-separated words (the tiny world's)."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {w: i for i, w in enumerate([PAD, BOS, EOS, UNK, *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _fast(raw)


def _fast(raw) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )


def text_tokenizer(texts: list[str], size: int = 1000) -> PreTrainedTokenizerFast:
    """Return a tokenizer of at most `size` tokens that learns the words of `texts` (byte-pair
    encoding).

    Numbers and words are units, every other character is one of its own, so that no token spans
    two parts of a formula; what `texts` lack is spelt in bytes. The same texts make the same
    tokenizer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    units = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|[0-9]+|[^A-Za-z0-9]"), "isolated")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [units, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BOS, EOS, UNK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return _fast(raw)


def load_tokenizer(folder: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a checkpoint folder or hub id, with a padding token."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, revision=revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def prompt_ids(tokenizer, prompt: str) -> list[int]:
    """Return the ids of one prompt, to be continued: the chat template where there is one, else
    <bos> text."""
    return conversation_ids(tokenizer, [prompt])


def conversation_ids(tokenizer, turns: list[str], templated: bool = True) -> list[int]:
    """Return the ids of a conversation, to be continued; `turns` are the user's, the model's, the
    user's, …

    The first may be a conversation itself (`tasks.conversation`). Without a chat template, or
    unless `templated`: <bos>, then the turns, each of the model's ended by <eos>, and an empty line
    after a system text. Raises HealscopeError where the chat template takes no such conversation.
    """
    later = [
        {"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)
    ]
    messages = [*messages_of(turns[0]), *later[1:]]
    if templated and tokenizer.chat_template:
        return list(_templated(tokenizer, messages, tokenize=True, return_dict=False))
    ids = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    for message in messages:
        if message["role"] == "assistant":
            ids += response_ids(tokenizer, message["content"])
        else:
            space = "\n\n" if message["role"] == "system" else ""
            ids += tokenizer.encode(message["content"] + space, add_special_tokens=False)
    return ids


def prompt_text(tokenizer, prompt: str) -> str:
    """Return the text of a prompt as the model reads it, special tokens included."""
    return tokenizer.decode(prompt_ids(tokenizer, prompt))


def _templated(tokenizer, messages: list[Message], **how):
    """Return messages as the chat template writes them, to be continued by the model."""
    try:
        return tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, strftime_now=TODAY.strftime, **how
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise HealscopeError(
            f"the chat template of {tokenizer.name_or_path or 'the tokenizer'} refuses a "
            f"conversation of {roles} ({' '.join(str(error).split())}); leave a system text out, "
            "or take a model whose template has one"
        ) from None


def option_ids(
    tokenizer, prompt: str, delimiter: str, text: str, templated: bool = True
) -> tuple[list[int], list[int]]:
    """Return the ids of a prompt, and of a text after it whose probability is asked for.

    As lm-evaluation-harness does it: the two are one text, of which the prompt has the tokens that
    it has alone, less white space at its end. With a chat template no delimiter is needed.
    """
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    if templated and tokenizer.chat_template and prompt:
        turn = [{"role": "user", "content": prompt}]
        prompt = _templated(tokenizer, turn, tokenize=False)
        delimiter, start = "", []
    before = tokenizer.encode(prompt.rstrip(), add_special_tokens=False)
    whole = tokenizer.encode(prompt + delimiter + text, add_special_tokens=False)
    return start + before or [tokenizer.eos_token_id], whole[len(before) :]


def response_ids(tokenizer, response: str) -> list[int]:
    """Return the ids of one response, ended by the end-of-sequence token."""
    return tokenizer.encode(response, add_special_tokens=False) + [tokenizer.eos_token_id]


def end_ids(tokenizer, named: Iterable[int | list[int] | None] = ()) -> list[int]:
    """Return the ids of tokens that end an answer: the tokenizer's end-of-sequence token first,
    then those that `named` holds, each a value of `eos_token_id` in a config.

    Models that were trained on conversations often end a turn by a token of its own, which their
    generation_config.json names beside the other or alone.
    """
    found = [tokenizer.eos_token_id]
    for value in named:
        found += value if isinstance(value, (list, tuple)) else [value]
    return [i for i in dict.fromkeys(found) if i is not None]


def model_ends(model) -> list[int | list[int] | None]:
    """Return what a model's configs name as `eos_token_id`: that of generation first, as
    transformers heeds it."""
    generation = getattr(model, "generation_config", None)
    text = model.config.get_text_config()
    return [getattr(generation, "eos_token_id", None), text.eos_token_id]


def response_text(
    tokenizer,
    ids: list[int],
    ends: Collection[int] = (),
    *,
    reasoning: Sequence[Marks] = (),
    prompt: Sequence[int] = (),
) -> str:
    """Return text of generated ids, without a last one of `ends` and without special tokens but
    those of the marks of `reasoning`.

    Where a chat template ended the prompt with a mark that begins reasoning, the text starts with
    it: so reasoning that never ends can be told from an answer.
    """
    if ids and ids[-1] in ends:
        ids = ids[:-1]
    kept, special = _special(tokenizer, tuple(map(tuple, reasoning)))
    if kept.isdisjoint(ids):
        text = tokenizer.decode(ids, skip_special_tokens=True)
    else:
        text = tokenizer.decode([i for i in ids if i in kept or i not in special])
    begun = [b for b, _ in reasoning if b and b in (tokenizer.chat_template or "")]
    before = tokenizer.decode(prompt[-_TAIL:]).rstrip() if begun else ""
    return next((begin for begin in begun if before.endswith(begin)), "") + text


@lru_cache(maxsize=16)
def _special(tokenizer, reasoning: tuple[Marks, ...]) -> tuple[frozenset[int], frozenset[int]]:
    """Return (ids of special tokens that are in marks, ids of all special tokens)."""
    special = {i: t.content for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    marks = [mark for pair in reasoning for mark in pair if mark]
    kept = {i for i, token in special.items() if any(token in mark for mark in marks)}
    return frozenset(kept), frozenset(special)


def encode_pairs(tokenizer, pairs: list[tuple[str, str]], device="cpu"):
    """(ids_BL, mask_BL, width, real_BT): prompts padded left, responses padded right to `width`."""
    return encode_ids(
        [prompt_ids(tokenizer, p) for p, _ in pairs],
        [response_ids(tokenizer, r) for _, r in pairs],
        tokenizer.pad_token_id,
        device,
    )


def encode_ids(prompts: list[list[int]], responses: list[list[int]], pad: int, device="cpu"):
    """Do `encode_pairs` for token ids."""
    left, right = max(map(len, prompts)), max(map(len, responses))
    ids = torch.full((len(prompts), left + right), pad)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ids[i, left - len(prompt) : left + len(response)] = torch.tensor(prompt + response)
        mask[i, left - len(prompt) : left + len(response)] = True
    return ids.to(device), mask.to(device), right, mask[:, left:].to(device)
