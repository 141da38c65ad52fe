"""Our sampling loop agrees with transformers and with the teacher-forced view."""

import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from healscope.config import Evaluation
from healscope.draws import seeded
from healscope.engines.generate import generate, response_logprobs
from healscope.engines.options import scores
from healscope.evaluation import losses
from healscope.evaluation.attempts import greedy_answers
from healscope.models import checkpoints, tokens
from healscope.training import methods

generation = sys.modules["healscope.engines.generate"]


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


TRANSFORMS = {
    "llama": {}, "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4}, "mixtral": {},
    "gemma2": {"final_logit_softcapping": 2.0}, "gemma3_text": {"final_logit_softcapping": 2.0},
    "vaultgemma": {"final_logit_softcapping": 2.0}, "nanochat": {"final_logit_softcapping": 2.0},
    "recurrent_gemma": {"logits_soft_cap": 2.0, "lru_width": 32, "conv1d_width": 2},
    "granite": {"logits_scaling": 8.0}, "granitemoe": {"logits_scaling": 8.0},
    "hyperclovax": {"logits_scaling": 0.25},
    "cohere": {"logit_scale": 0.1}, "cohere2": {"logit_scale": 0.1},
}  # fmt: skip
"""Family -> what it does to the logits of its output layer."""


@pytest.fixture(scope="module", params=TRANSFORMS)
def family(request):
    """A model of a family whose output layer alone has other logits than the model."""
    sizes = {
        "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 8, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **(sizes | TRANSFORMS[request.param]))
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(50)
    return model


@torch.no_grad()
def test_logprobs_are_those_of_the_models_own_logits(family):
    """Of samples, of texts read, of options and of penalties of SFT."""
    prompts = [[1, 5, 6, 7], [1, 9, 8, 7]]
    made = generate(
        family, prompts, eos=2, pad=0, max_new_tokens=5, temperature=0.7,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    ids, mask, width, real = tokens.encode_ids(prompts, made.ids(), 0)
    logits = family(input_ids=ids, attention_mask=mask.long()).logits[:, -width - 1 : -1].float()
    cold, plain = (torch.log_softmax(logits / t, -1) for t in (0.7, 1.0))
    found, over_all = response_logprobs(family, ids, mask, width, 0.7)
    assert torch.allclose(over_all[real], cold[real], atol=1e-5)
    assert torch.allclose(found[real], made.logprobs_BT[made.mask_BT], atol=1e-4)
    of_tokens = plain.gather(-1, ids[:, -width:, None])[..., 0]
    options = scores(family, list(zip(prompts, made.ids(), strict=True)), pad=0, batch_size=2)
    for (total, _), own, there in zip(options, of_tokens, real, strict=True):
        assert total == pytest.approx(float(own[there].sum()), abs=1e-4)
    labels = torch.where(mask, ids, -100)
    labels[:, :-width] = -100
    inputs = {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}
    assert torch.allclose(methods._logprobs(family, inputs), plain[real], atol=1e-5)


def test_logits_have_the_gradient_of_the_models_own(family):
    ids = torch.tensor([[1, 5, 6, 7, 9]])
    head = family.get_output_embeddings().weight
    whole = torch.log_softmax(family(input_ids=ids).logits, -1)[0, 1:, 3].sum()
    states = checkpoints.decoder(family)(input_ids=ids, use_cache=False).last_hidden_state
    part = torch.log_softmax(checkpoints.logits(family, states[:, 1:]), -1)[..., 3].sum()
    expected, found = (torch.autograd.grad(x, head)[0] for x in (whole, part))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(family(input_ids=ids).logits, family(input_ids=ids).logits)  # reads again


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
        greedy_answers(model, tokenizer, texts, Evaluation(batch_size=b, max_new_tokens=8))
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


def test_the_nucleus_holds_the_likeliest_tokens_alone(model_and_tokenizer, prompts):
    """Sampled log-probabilities are those of the distribution cut to top_p and renormalised."""
    model, tokenizer = model_and_tokenizer
    top_p = 0.3
    r = generate(
        model, prompts, **special(tokenizer), max_new_tokens=10, temperature=1.0, top_p=top_p,
        samples=20, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    repeated = [p for p in prompts for _ in range(20)]
    ids, mask, width, real = tokens.encode_ids(repeated, r.ids(), tokenizer.pad_token_id)
    with torch.no_grad():
        _, full_BTV = response_logprobs(model, ids, mask, width)
    for logps_V, drawn, stated in zip(
        full_BTV[real], r.tokens_BT[r.mask_BT], r.logprobs_BT[r.mask_BT], strict=True
    ):
        ordered = logps_V.exp().sort(descending=True)
        kept = int((ordered.values.cumsum(0) < top_p).sum()) + 1
        assert drawn in ordered.indices[:kept]
        assert stated.exp() == pytest.approx(
            float(logps_V[drawn].exp() / ordered.values[:kept].sum()), rel=1e-3
        )


def test_a_tiny_nucleus_is_greedy(model_and_tokenizer, prompts):
    model, tokenizer = model_and_tokenizer
    greedy = generate(model, prompts, **special(tokenizer), max_new_tokens=8).ids()
    sampled = generate(
        model, prompts, **special(tokenizer), max_new_tokens=8, temperature=1.0, top_p=1e-6,
        generator=torch.Generator().manual_seed(3),
    ).ids()  # fmt: skip
    assert sampled == greedy


def sampled(model, tokenizer, prompts, **how):
    return generate(
        model, prompts, **special(tokenizer), max_new_tokens=10, temperature=1.0, samples=4,
        generator=torch.Generator().manual_seed(5), **how,
    )  # fmt: skip


@pytest.fixture
def read(model_and_tokenizer):
    """Shapes of the token ids that the model reads, call by call."""
    shapes = []
    hook = model_and_tokenizer[0].register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    hook.remove()


def test_what_prompts_share_is_read_once(model_and_tokenizer, prompts, read, monkeypatch):
    model, tokenizer = model_and_tokenizer
    monkeypatch.setattr(generation, "SHARED_FROM", 10**9)
    apart = sampled(model, tokenizer, prompts, prompt_states=True)
    assert read[0] == (len(prompts), max(map(len, prompts)))
    read.clear()
    monkeypatch.setattr(generation, "SHARED_FROM", 1)
    once = sampled(model, tokenizer, prompts, prompt_states=True)
    (one, shared), (rows, rest), *_ = read
    assert (one, rows, shared + rest) == (1, len(prompts), max(map(len, prompts)))
    assert shared > 1
    assert all(p[:shared] == prompts[0][:shared] for p in prompts)
    assert once.ids() == apart.ids()
    assert torch.allclose(once.logprobs_BT, apart.logprobs_BT, atol=1e-5)
    assert torch.allclose(once.prompt_B2H, apart.prompt_B2H, atol=1e-5)


def test_a_prompt_that_begins_another_keeps_a_last_token_of_its_own(model_and_tokenizer, prompts):
    model, tokenizer = model_and_tokenizer
    longest = max(prompts, key=len)
    both = [longest, longest[:-3], longest]
    settings = special(tokenizer) | {"max_new_tokens": 8}
    together = generate(model, both * 10, **settings).ids()
    assert together == [generate(model, [p], **settings).ids()[0] for p in both] * 10


def test_rows_that_have_ended_leave_the_batch_and_change_nothing(
    model_and_tokenizer, prompts, read, monkeypatch
):
    model, tokenizer = model_and_tokenizer
    left = sampled(model, tokenizer, prompts)
    rows = [shape[0] for shape in read if shape[1] == 1]
    assert rows == left.mask_BT.sum(0).tolist()[1:]
    assert rows[-1] < rows[0]  # some ended before the others
    read.clear()
    monkeypatch.setattr(generation, "SELECTABLE", set())
    stayed = sampled(model, tokenizer, prompts)
    assert {shape[0] for shape in read if shape[1] == 1} == {4 * len(prompts)}
    assert left.ids() == stayed.ids()
    assert torch.allclose(left.logprobs_BT, stayed.logprobs_BT, atol=1e-5)
