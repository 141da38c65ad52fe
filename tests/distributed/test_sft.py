"""SFT in two processes, with ZeRO-2 and ZeRO-3, is SFT in one: its log, its weights, its resume."""

import pytest

from healscope.errors import HealscopeError
from healscope.training.stop import Stopped

LOSSES = ["train_loss_nats", "id_train_loss_nats", "id_test_loss_nats", "ood_test_loss_nats"]
CLOSE = 2e-5  # float32 sums in another order, over 12 steps; a step moves weights by up to 4e-4


def how(deepspeed, zero3, **more):
    return {"processes": 2, "deepspeed": zero3 if deepspeed == "zero3" else deepspeed, **more}


def same(a, b, close=CLOSE):
    assert list(a.rows["step"]) == list(b.rows["step"])
    for column in [*LOSSES, "learning_rate"]:
        expected = pytest.approx(b.rows[column].to_numpy(), abs=close, nan_ok=True)
        assert a.rows[column].to_numpy() == expected, column
    assert list(a.weights) == list(b.weights)
    for name, tensors in a.weights.items():
        assert tensors.keys() == b.weights[name].keys()
        for key, value in tensors.items():
            assert float((value - b.weights[name][key]).abs().max()) <= close, (name, key)


@pytest.fixture(scope="module")
def alone(train):
    return train("sft")


@pytest.fixture(scope="module")
def both(train, zero3):
    """What two processes make, by DeepSpeed setting; each is trained once."""
    made = {}

    def get(deepspeed):
        if deepspeed not in made:
            made[deepspeed] = train("sft", how(deepspeed, zero3))
        return made[deepspeed]

    return get


@pytest.mark.parametrize("deepspeed", ["zero2", "zero3"])
def test_two_processes_train_as_one(deepspeed, alone, both, study):
    run = both(deepspeed)
    same(run, alone)
    rate = study.sft.optimizer.learning_rate
    assert run.rows["learning_rate"].iloc[-1] == pytest.approx(rate * 11 / 20)  # still warming up


def test_a_signal_stops_with_a_state_from_which_the_same_run_goes_on(
    both, train, zero3, tmp_path, signalled, identical
):
    folder = tmp_path / "state"
    signalled(folder, "trainer/checkpoint-*/whole")
    with pytest.raises(Stopped, match=r"by SIGTERM at step \d+ of 12, with its state saved"):
        train("sft", how("zero3", zero3), folder)
    torn = folder / "trainer/checkpoint-11"  # a newer state whose writing was cut off
    torn.mkdir()
    with pytest.raises(HealscopeError, match="was trained with processes: 2"):
        train("sft", None, folder)
    resumed = train("sft", how("zero3", zero3), folder)
    identical(resumed, both("zero3"))
