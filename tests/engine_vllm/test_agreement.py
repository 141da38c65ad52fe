"""vLLM says what transformers says, at whatever weights it was given, and RL notices where not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from healscope.config import DPO, PPO, Group, Optimizer
from healscope.draws import seeded
from healscope.engines import HF
from healscope.engines.generate import response_logprobs
from healscope.errors import HealscopeError
from healscope.evaluation.attempts import Asker
from healscope.models import checkpoints, tokens
from healscope.models.stored import Stored
from healscope.models.variants import Variant, from_checkpoint
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.training import groups, ppo, rounds

STEP = {"eos": 2, "pad": 0, "max_new_tokens": 12}
APART = 1e-3  # nats, of float32


@pytest.fixture(scope="module")
def other_manifest(make):
    return make("llama", 1)


def hf(manifest):
    return HF(checkpoints.load_model(manifest)[0], Stored(Path(manifest).parent))


def same(engine, other, prompts):
    mine, theirs = (e.generate(prompts, **STEP) for e in (engine, other))
    assert mine.ids() == theirs.ids()
    assert torch.allclose(mine.logprobs_BT, theirs.logprobs_BT, atol=APART)
    assert (mine.logprobs_BT < -0.01).any()  # else nothing could differ
    return mine.ids()


def test_greedy_answers_and_log_probabilities_are_those_of_hf(engine, base_manifest, prompts):
    answers = same(engine, hf(base_manifest), prompts)
    assert len(set(map(tuple, answers))) > 10
    assert any(row[-1] == 2 for row in answers)  # some end, some are cut off
    assert any(len(row) == 12 and row[-1] != 2 for row in answers)


def test_given_texts_are_as_probable_as_to_hf(engine, base_manifest, prompts):
    """Greedy answers, other texts of several lengths, and one that is empty."""
    own = hf(base_manifest)
    greedy = [ids[:6] for ids in own.generate(prompts, **STEP).ids()]
    others = [ids[:n] for n, ids in zip(range(len(greedy)), reversed(greedy), strict=True)]
    pairs = [*zip(prompts, greedy, strict=True), *zip(prompts, others, strict=True)]
    mine, theirs = (e.scores(pairs, pad=0, batch_size=32) for e in (engine, own))
    for (total, likeliest), (expected, expected_likeliest) in zip(mine, theirs, strict=True):
        assert abs(total - expected) < APART
        assert likeliest == expected_likeliest
    assert all(likeliest for _, likeliest in mine[: len(prompts)])
    assert not all(likeliest for _, likeliest in mine)


def test_weights_in_place(engine, base_manifest, other_manifest, prompts):
    """A checkpoint, an edit, another edit, and back: each like transformers at those weights."""
    own, other = (Stored(Path(m).parent) for m in (base_manifest, other_manifest))
    edited = {part: [n for n in own if part in n] for part in ("q_proj", "down_proj", "embed")}

    def edit(part):
        return Variant(part, lambda: ((n, other[n]) for n in edited[part]))

    variants = [
        from_checkpoint("other", other_manifest), edit("q_proj"), edit("down_proj"), edit("embed"),
        from_checkpoint("base", base_manifest),
    ]  # fmt: skip
    seen = {}
    for mine, theirs in zip(engine.each(variants), hf(base_manifest).each(variants), strict=True):
        assert mine.name == theirs.name
        # the second loop holds its own model: read it where it stands
        seen[mine.name] = engine.generate(prompts, **STEP).ids()
    for variant, theirs in zip(variants, fresh(base_manifest, variants), strict=True):
        assert seen[variant.name] == theirs.generate(prompts, **STEP).ids(), variant.name
    assert len({str(answers) for answers in seen.values()}) == len(variants)


def fresh(manifest, variants):
    """An engine `hf` at each variant, each loaded anew."""
    for variant in variants:
        engine = hf(manifest)
        next(iter(engine.each([variant])))
        yield engine


def test_sampled_log_probabilities_are_of_the_distribution_drawn_from(
    engine, model_and_tokenizer, prompts
):
    model, tokenizer = model_and_tokenizer
    drawn = engine.generate(
        prompts, **STEP, temperature=0.7, samples=2, generator=seeded("some", 1)
    )
    repeated = [p for p in prompts for _ in range(2)]
    ids, mask, width, real = tokens.encode_ids(repeated, drawn.ids(), 0)
    with torch.no_grad():
        theirs, _ = response_logprobs(model, ids, mask, width, 0.7)
    assert torch.allclose(theirs[real], drawn.logprobs_BT[drawn.mask_BT], atol=APART)
    again = engine.generate(
        prompts, **STEP, temperature=0.7, samples=2, generator=seeded("some", 1)
    )
    assert again.ids() == drawn.ids()
    pairs = zip(drawn.ids()[::2], drawn.ids()[1::2], strict=True)
    assert sum(a != b for a, b in pairs) > len(prompts) / 2
    nucleus = engine.generate(
        prompts, **STEP, temperature=1.0, top_p=1e-6, generator=seeded("some", 2)
    )
    assert nucleus.ids() == engine.generate(prompts, **STEP).ids()


def test_an_asker_gets_the_same_texts_from_both(engine, model_and_tokenizer, tables, study):
    model, tokenizer = model_and_tokenizer
    talks = [[p] for p in tables[0]["prompt"].head(20)]
    texts = [
        Asker(e, tokenizer, study.evaluation, study.evaluation.protocols["exhaustive"], "")(
            talks, "first", 0.0
        )
        for e in (engine, HF(model))
    ]
    assert texts[0] == texts[1]


def test_a_checkpoint_that_answers_as_another_is_refused(engine, base_manifest, tmp_path):
    """Its recorded logits are not what the engine computes from its weights."""
    folder = tmp_path / "changed"
    shutil.copytree(Path(base_manifest).parent, folder)
    recorded = json.loads((folder / "logits.json").read_text())
    recorded["logits"][::2] = [x + 1.0 for x in recorded["logits"][::2]]
    (folder / "logits.json").write_text(json.dumps(recorded))
    checkpoints.publish(folder, tmp_path / "again" / "checkpoint.json", {})
    changed = from_checkpoint("changed", tmp_path / "again" / "checkpoint.json")
    with pytest.raises(HealscopeError, match="its logits differ by"):
        next(iter(engine.each([changed])))


SHORT = {"iterations": 2, "responses": 16, "samples_per_prompt": 4, "temperature": 0.7,
         "optimizer": Optimizer(learning_rate=0.01, warmup_steps=0)}  # fmt: skip


def even(problem, text):
    """A verdict that a random model gets right now and then."""
    good = len(text) % 2 == 0
    reward = 1.0 if good else -0.5
    said = Verdict("correct" if good else "no_answer", reward, good, good, good, good)
    return Scored(said, reward)


@pytest.mark.parametrize(
    ("trainer", "recipe"),
    [
        (ppo, PPO(algorithm="ppo", attempts=2, **SHORT)),
        (groups, Group(algorithm="grpo", **SHORT)),
        (rounds, DPO(algorithm="dpo", rounds=2, batch_size=8, **SHORT)),
    ],
    ids=["ppo", "grpo", "dpo"],
)
def test_rl_samples_from_the_policy_and_logs_the_gap(engine, branch_at, trainer, recipe):
    """The gap stays that of rounding while the policy moves: it is sampled at its own weights."""
    branch = replace(branch_at(score=even, max_new_tokens=6), engine=engine)
    rows = trainer.train(recipe, branch)
    gaps = [row["engine_gap_nats"] for row in rows]
    assert len(rows) == 2
    assert min(gaps) > 0
    assert max(row["engine_gap_max_nats"] for row in rows) < APART
    moved = checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)
    before = Stored(Path(branch.start).parent)
    assert any(not torch.equal(moved[n], before[n]) for n in before)


def test_turns_hold_the_model_s_own_view(engine, branch_at, model_and_tokenizer, tables):
    model, tokenizer = model_and_tokenizer
    recipe = PPO(algorithm="ppo", **SHORT)
    some = tables[2].head(4)
    sampler = replace(branch_at(), engine=engine).sampler(recipe, prompt_states=True)
    for turn in sampler.sample(model, tokenizer, some, (0, 1)):
        ids, mask, width, _ = tokens.encode_ids([turn.prompt_ids], [turn.response_ids], 0)
        with torch.no_grad():
            logprobs, _ = response_logprobs(model, ids, mask, width, 0.7)
            states = model.model(torch.tensor([turn.prompt_ids])).last_hidden_state[0]
        np.testing.assert_allclose(logprobs[0], turn.logprobs, atol=1e-5)
        np.testing.assert_allclose(states.mean(0), turn.state_2H[0], atol=1e-4)
        np.testing.assert_allclose(states[-1], turn.state_2H[1], atol=1e-4)


def test_a_gap_over_the_limit_stops_the_run(engine, branch_at, monkeypatch):
    tight = engine.settings.model_copy(update={"gap_limit": 1e-12})
    monkeypatch.setattr(engine, "settings", tight)
    with pytest.raises(HealscopeError, match=r"differs from the model that is trained by .* nats"):
        ppo.train(PPO(algorithm="ppo", **SHORT), replace(branch_at(), engine=engine))
