"""Methods, precision, checkpointed activations and offloading: as one process has them."""

import pytest
import torch

CLOSE = 2e-5
ROUNDED = 3e-3  # bfloat16 has 8 bits: losses of 3.7 nats, 8 steps
CASES = {
    "kl": ("kl", {"deepspeed": "zero2", "micro_batch": 4}, {}, CLOSE),
    "lora": ("lora", {"deepspeed": "zero3", "gradient_checkpointing": True}, {}, CLOSE),
    "bfloat16": ("sft", {"deepspeed": "zero3", "precision": "bfloat16"},
                 {"precision": "bfloat16"}, ROUNDED),
    "offload": ("dft", {"deepspeed": "zero3_offload", "gradient_checkpointing": True}, {}, CLOSE),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case, train):
    arm, both, alone, close = CASES[case]
    sft = {"steps": 8, "checkpoints": [0, 8]}
    shared = train(arm, {"processes": 2, **both}, sft=sft)
    single = train(arm, alone, sft=sft)
    for column in ("train_loss_nats", "id_train_loss_nats", "ood_test_loss_nats"):
        expected = pytest.approx(single.rows[column].to_numpy(), abs=close, nan_ok=True)
        assert shared.rows[column].to_numpy() == expected, column
    if arm == "kl":
        assert shared.rows["penalty"].iloc[-1] > 0
        expected = pytest.approx(single.rows["penalty"].to_numpy(), rel=1e-3, nan_ok=True)
        assert shared.rows["penalty"].to_numpy() == expected
    for key, value in single.weights[f"{arm}-8"].items():
        assert value.dtype == torch.float32
        moved = float((shared.weights[f"{arm}-8"][key] - value).abs().max())
        assert moved <= (close if close == CLOSE else 1e-3), key
