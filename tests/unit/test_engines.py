"""What is said where engine vllm cannot be started, and what becomes of it in a config."""

import sys
from pathlib import Path

import pytest

from healscope import config
from healscope.config import Vllm
from healscope.engines import VLLM, Process
from healscope.errors import HealscopeError


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
