"""Our sampling loop agrees with transformers and with the teacher-forced view."""

import pytest
import torch

from healscope.config import Evaluation
from healscope.evaluation import evaluate, losses
from healscope.evaluation.generate import generate, response_logprobs, seeded
from healscope.models import tokens


@pytest.fixture
def prompts(tables, model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    full = [tokens.prompt_ids(tokenizer, p) for p in tables[0]["prompt"].head(6)]
    return full[:3] + [p[:-2] for p in full[3:]]  # two lengths, so that padding is tested


def special(tokenizer):
    return {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}


def test_greedy_equals_transformers(model_and_tokenizer, prompts):
    model, tokenizer = model_and_tokenizer
    ours = generate(model, prompts, **special(tokenizer), max_new_tokens=12).ids()
    for prompt, mine in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )[0, len(prompt) :].tolist()  # fmt: skip
        assert mine == theirs


def test_sampled_logprobs_equal_the_teacher_forced_ones(model_and_tokenizer, prompts):
    model, tokenizer = model_and_tokenizer
    temperature = 0.7
    r = generate(
        model, prompts, **special(tokenizer), max_new_tokens=10, temperature=temperature,
        samples=3, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    repeated = [p for p in prompts for _ in range(3)]
    ids, mask, width, real = tokens.encode_ids(repeated, r.ids(), tokenizer.pad_token_id)
    logps, _ = response_logprobs(model, ids, mask, width, temperature)
    assert real.sum() == r.mask_BT.sum()
    assert torch.allclose(logps[real], r.logprobs_BT[r.mask_BT], atol=1e-5)


def test_sampling_follows_its_generator_alone(model_and_tokenizer, prompts):
    model, tokenizer = model_and_tokenizer

    def draw(stream, noise):
        torch.manual_seed(noise)
        return generate(
            model, prompts, **special(tokenizer), max_new_tokens=8, temperature=1.0,
            generator=seeded(*stream),
        ).ids()  # fmt: skip

    assert draw((0, 1), 1) == draw((0, 1), 2)
    assert draw((0, 1), 1) != draw((0, 2), 1)


def test_batch_size_changes_nothing(model_and_tokenizer, tables):
    model, tokenizer = model_and_tokenizer
    texts = list(tables[0]["prompt"].head(20))
    one, many = (
        evaluate.respond(model, tokenizer, texts, Evaluation(batch_size=b, max_new_tokens=8))
        for b in (1, 64)
    )
    assert one == many


def test_cross_entropy_equals_transformers_loss(model_and_tokenizer, tables):
    model, tokenizer = model_and_tokenizer
    pairs = list(zip(tables[0]["prompt"], tables[0]["response"], strict=True))[:10]
    total, count = 0.0, 0
    for prompt, response in pairs:
        before, after = (
            tokens.prompt_ids(tokenizer, prompt),
            tokens.response_ids(tokenizer, response),
        )
        labels = torch.tensor([[-100] * len(before) + after])
        loss = model(input_ids=torch.tensor([before + after]), labels=labels).loss.item()
        total, count = total + loss * len(after), count + len(after)
    assert losses.cross_entropy(model, tokenizer, pairs, batch_size=4) == pytest.approx(
        total / count
    )


def test_reference_answers_are_judged_correct(task, tables):
    problems = tables[0]
    rows = evaluate.judge(task, problems, [[r] for r in problems["response"]])
    assert rows["correct"].all()
    assert rows[["parsed", "follows_rule", "uses_numbers", "reaches_target"]].all(axis=None)
    empty = evaluate.judge(task, problems, [[""] for _ in range(len(problems))])
    assert not empty["correct"].any()
    assert set(empty["outcome"]) == {"no_answer"}
