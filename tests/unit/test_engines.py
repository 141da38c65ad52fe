"""What is said where engine vllm cannot be started, and what becomes of it in a config."""

import sys
from pathlib import Path

import pytest
import torch

from healscope import config, values
from healscope.config import Vllm
from healscope.engines import VLLM, Process, evaluating
from healscope.errors import HealscopeError
from healscope.models import tokens
from healscope.models.variants import from_checkpoint


def start(manifest, python, tmp_path):
    process = Process(Vllm(python=python), str(tmp_path / "job.log"))
    with VLLM(Path(manifest).parent, process, 8, 0.9):
        pass


def test_a_missing_interpreter_says_how_to_make_one(base_manifest, tmp_path):
    with pytest.raises(HealscopeError, match=r"no/python is not there: run `make vllm`"):
        start(base_manifest, "no/python", tmp_path)


def test_an_interpreter_without_vllm_says_how_to_make_one(base_manifest, tmp_path):
    with pytest.raises(HealscopeError, match=r"has no working vLLM .*`make vllm`.*engine\.log"):
        start(base_manifest, sys.executable, tmp_path)


def test_a_process_that_ends_at_once_is_named_with_its_log(base_manifest, tmp_path):
    with pytest.raises(HealscopeError, match=r"died \(exit code 1\).*job-engine\.log"):
        start(base_manifest, "false", tmp_path)


def test_only_what_changes_results_is_a_value_of_theirs(study):
    assert study.engine_values("hf") == {}
    values = {"vllm": {"dtype": "bfloat16", "max_model_len": None}}
    assert study.engine_values("vllm") == values
    elsewhere = study.model_dump() | {"vllm": {"python": "other", "memory_share": 0.5}}
    assert config.load(elsewhere).engine_values("vllm") == values


def test_precision_of_hf_is_in_the_weights_and_in_the_record(base_manifest):
    with evaluating(str(base_manifest), 8, None, "bfloat16") as (engine, tokenizer):
        assert {p.dtype for p in engine.model.parameters()} == {torch.bfloat16}
        assert engine.facts == {"name": "hf", "precision": "bfloat16"}
        (variant,) = engine.each([from_checkpoint("base", base_manifest)])
        ids = tokens.prompt_ids(tokenizer, "cards J")
        end = {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
        assert engine.generate([ids], max_new_tokens=3, **end).logprobs_BT.dtype == torch.float32
    with evaluating(str(base_manifest), 8, None) as (engine, _):
        assert {p.dtype for p in engine.model.parameters()} == {torch.float32}
        assert engine.facts == {}


def test_precision_is_part_of_what_evaluations_are_known_by_where_it_is_not_float32(study):
    plain = values.evaluation(study, "exhaustive", [])["evaluation"]
    assert "precision" not in plain
    half = study.evaluation.model_copy(update={"precision": "bfloat16"})
    other = values.evaluation(study.model_copy(update={"evaluation": half}), "exhaustive", [])
    assert other["evaluation"] == {**plain, "precision": "bfloat16"}
    with pytest.raises(ValueError, match="that of vllm is its dtype"):
        config.Evaluation(engine="vllm", precision="bfloat16")
