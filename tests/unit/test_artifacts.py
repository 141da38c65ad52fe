import pytest

from healscope import artifacts


def test_stage_and_step():
    assert artifacts.stage_and_step("sft-140") == ("sft", 140)
    assert artifacts.stage_and_step("rpsft_strong-140") == ("rpsft_strong", 140)
    assert artifacts.stage_and_step("ppo-from-140") == ("rl", 140)


def test_a_path_is_read_as_it_was_made():
    """Also where a model is called as a protocol or a task is, and in another folder."""
    named = {"protocol": "exhaustive", "track": "paper", "seed": "0", "checkpoint": "sft-4"}
    file = artifacts.path(artifacts.EVALUATION, task="exhaustive", **named)
    assert artifacts.parse(artifacts.EVALUATION, file) == {**named, "task": "exhaustive"}
    assert artifacts.parse(artifacts.EVALUATION, f"/a/paper/{file}")["protocol"] == "exhaustive"
    assert artifacts.variant(file) == "sft-4"
    edit = artifacts.path(
        artifacts.EDIT, track="Qwen2.5-7B", seed=0, stage="sft", edit="swap-rank-0.5", task="evals"
    )
    assert artifacts.parse(artifacts.EDIT, edit)["track"] == "Qwen2.5-7B"
    assert artifacts.variant(edit) == "swap-rank-0.5"
    with pytest.raises(ValueError, match="is no results/landmarks"):
        artifacts.parse(artifacts.LANDMARKS, file)
