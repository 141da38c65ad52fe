"""A model from scratch that reads the whole JSON prompt: examples, words, first steps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from healscope import config
from healscope.config import Pretraining
from healscope.engines.generate import generate
from healscope.models import checkpoints, tokens
from healscope.tasks import build
from healscope.tasks.cards.deals import sft_table
from healscope.tasks.cards.game import LAYOUTS, from_row, prompt
from healscope.tasks.cards.pretraining import corpus, pretraining_examples
from healscope.tasks.cards.verifier import verify
from healscope.tasks.neutral import INSTRUCTIONS
from healscope.training import base
from healscope.training.state import Workspace

ROOT = Path(__file__).parents[2]
MIXED = Pretraining()
RULES, FORMATS = MIXED.rules.model_dump(), MIXED.formats.model_dump()


@pytest.fixture(scope="module")
def study():
    return config.load(yaml.safe_load((ROOT / "config/one-gpu.yaml").read_text()))


@pytest.fixture(scope="module")
def task(study):
    return build("gp4", study.tasks["gp4"])


@pytest.fixture(scope="module")
def game(task):
    return task


@pytest.fixture(scope="module")
def pool(game):
    return sft_table(replace(game, held_out=0.98))


@pytest.fixture(scope="module")
def tokenizer(task):
    return base.task_tokenizer(task)


def test_the_prompt_of_evaluation_is_never_answered_in_its_layout(game, pool):
    layouts = MIXED.eval_format_layouts.model_dump()
    drawn = {"eval_format_share": 0.3, "eval_format_layouts": layouts}
    pairs = pretraining_examples(game, 300, np.random.default_rng(0), RULES, FORMATS, **drawn)
    row = pool.iloc[0]
    end = row["prompt"].partition("[Output]")[2]
    asked = [answer for text, answer in pairs if text.endswith(end)]
    assert 60 <= len(asked) <= 120
    assert not any(answer.startswith("{") for answer in asked)
    assert any(answer.startswith("{") for _, answer in pairs)  # under another request
    problem = from_row(row)
    assert {verify(game, problem, answer).outcome for answer in asked} == {"no_answer"}


@pytest.mark.parametrize("token", LAYOUTS)
def test_a_layout_has_what_its_prompt_asks_for(game, token):
    if token == "fD":
        return  # its answers take the other layouts
    only = {"id": 1.0}, {token: 1.0}
    for text, answer in pretraining_examples(game, 20, np.random.default_rng(1), *only):
        cards = json.loads(text.partition("Cards: ")[2].partition("\n")[0])
        if token == "fG":
            said = json.loads(answer)
            assert tuple(said) == LAYOUTS[token]
            assert said["cards"] == cards
            continue
        names = [line.partition(": ")[0] for line in answer.splitlines()]
        assert tuple(names) == LAYOUTS[token]
        assert all(f"'{name}:'" in text for name in names)


def test_words_are_the_same_each_time_and_lose_nothing(game, pool, tokenizer):
    again = tokens.text_tokenizer(corpus(game))
    assert tokenizer.backend_tokenizer.to_str() == again.backend_tokenizer.to_str()
    other = prompt(game, from_row(pool.iloc[0]), rendering=7)
    for text in (*pool["prompt"][:20], *pool["response"][:20], other, *INSTRUCTIONS):
        ids = tokens.response_ids(tokenizer, text)[:-1]
        assert tokenizer.unk_token_id not in ids
        assert tokens.response_text(tokenizer, ids) == text
    formula = tokenizer.tokenize('"(10-4)*8/2=24"')
    assert formula == ['"', "(", "10", "-", "4", ")", "*", "8", "/", "2", "=", "24", '"']


@pytest.mark.long
def test_the_model_for_one_gpu_takes_its_first_steps(study, task, pool, tokenizer, tmp_path):
    """The real architecture, at 3 steps of 4 examples."""
    scratch = study.models["small"].scratch
    few = {"steps": 3, "batch_size": 4, "warmup_steps": 1, "state_every": 3}
    pretraining = scratch.pretraining.model_copy(update=few)
    work = Workspace(tmp_path / "state", "x")
    rows = base.pretrain(
        scratch.model_copy(update={"pretraining": pretraining}), task, 0, work, "base"
    )
    assert len(rows) == 3
    manifest = tmp_path / "base" / "checkpoint.json"
    checkpoints.publish(work.staged("base"), manifest, {})
    model, loaded = checkpoints.load_model(manifest)
    assert 10e6 < model.num_parameters() < 50e6
    assert loaded.get_vocab() == tokenizer.get_vocab()
    ids = [tokens.prompt_ids(loaded, text) for text in pool["prompt"][:2]]
    asked = {"eos": loaded.eos_token_id, "pad": loaded.pad_token_id, "max_new_tokens": 4}
    assert all(len(answer) for answer in generate(model, ids, **asked).ids())
    longest = study.evaluation.max_new_tokens + max(map(len, ids))
    assert longest * 5 < model.config.max_position_embeddings  # a conversation of five attempts
