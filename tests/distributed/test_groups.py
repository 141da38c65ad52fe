"""GRPO in two processes: whole groups in each, the same rows after a signal and a resume."""

import pytest

from healscope.config import Group
from healscope.training.stop import Stopped


def test_a_signal_stops_grpo_and_the_same_run_goes_on(
    train, learned, tmp_path, signalled, identical
):
    settings = {"algorithm": "grpo", "iterations": 12, "responses": 16, "state_every": 1,
                "optimizer": {"learning_rate": 1.5e-4, "warmup_steps": 2},
                "temperature": 2.0, "reward": {"prefix": 1.0}}  # fmt: skip
    recipe = Group.model_validate(settings).model_dump(mode="json")
    how = {"processes": 2, "deepspeed": "zero2", "micro_batch": 4}
    whole = train("grpo-from-0", how, None, recipe, learned)
    assert list(whole.rows["learning_rate"]) == [1.5e-4 * share for share in (0.5, *[1] * 11)]
    # a batch in which all rewards are equal teaches nothing; which batches differ in theirs, and
    # whether many do, depends on the machine's rounding
    differ = whole.rows["zero_variance_share"] < 1
    assert differ.any()
    assert (differ == (whole.rows["gradient_norm"] > 0)).all()
    assert whole.rows["generated_tokens"].between(16, 16 * 24).all()
    assert (whole.rows["trained_tokens"] == whole.rows["generated_tokens"]).all()
    signalled(tmp_path / "state", "state-*")
    with pytest.raises(Stopped, match=r"by SIGTERM at iteration \d+ of 12"):
        train("grpo-from-0", how, tmp_path / "state", recipe, learned)
    resumed = train("grpo-from-0", how, tmp_path / "state", recipe, learned)
    identical(resumed, whole)
