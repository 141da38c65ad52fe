"""Losses by the steps of an answer, held against a plain forward pass."""

import math

import pytest
import torch

from healscope.evaluation.losses import BATCH, by_step
from healscope.models import tokens


def loss_of(model, tokenizer, pairs, step: str) -> float:
    """Mean cross-entropy of the words of a step, one pair at a time; every word is a token."""
    losses = []
    for prompt, response in pairs:
        before, words = tokens.prompt_ids(tokenizer, prompt), response.split()
        after = tokenizer.encode(response, add_special_tokens=False)
        assert len(after) == len(words)
        logps = torch.log_softmax(model(torch.tensor([before + after])).logits[0].float(), -1)
        start, end = words.index("number"), words.index("formula")
        chosen = range(start, end) if step == "number" else range(end, len(words))
        losses += [-float(logps[len(before) + i - 1, after[i]]) for i in chosen]
    return sum(losses) / len(losses)


@torch.no_grad()
def test_a_step_is_what_stands_from_its_word_to_the_next(model_and_tokenizer, tables):
    """More pairs than a batch holds, with prompts and answers of several lengths."""
    model, tokenizer = model_and_tokenizer
    frame = tables[0].drop_duplicates("response").head(BATCH + 3)
    pairs = [
        (prompt, response if i % 2 else f"{response} + 1")
        for i, (prompt, response) in enumerate(zip(frame["prompt"], frame["response"], strict=True))
    ]
    assert len(pairs) > BATCH
    found = by_step(model, tokenizer, pairs)
    for step in ("number", "formula"):
        expected = loss_of(model, tokenizer, pairs, step)
        assert found[step] == pytest.approx(expected, abs=1e-5)
    assert found["number"] != pytest.approx(found["formula"])


def test_answers_without_steps_have_no_such_losses(model_and_tokenizer):
    assert all(math.isnan(v) for v in by_step(*model_and_tokenizer, []).values())
    found = by_step(*model_and_tokenizer, [("cards", "cards formula 1 + 1")])
    assert math.isnan(found["number"])
    assert found["formula"] > 0
