"""Landmarks are chosen from what is held out and from the OOD rule, whatever else there is."""

import pandas as pd
import pytest

from healscope.evaluation import landmarks

STEPS = (0, 4, 8, 12)
INSTANCES = 20


def attempts(split: str, rule: str, shares: dict[int, float]) -> pd.DataFrame:
    """First attempts, alike in both halves; `shares`: SFT step -> share that is correct."""
    return pd.DataFrame(
        [
            {"step": step, "split": split, "rule": rule, "half": "ab"[i % 2],
             "instance_id": f"{split}-{i}", "correct": i // 2 < share * INSTANCES / 2}
            for step, share in shares.items()
            for i in range(INSTANCES)
        ]
    )  # fmt: skip


HELD_OUT = attempts("held_out", "ood", {0: 0.1, 4: 0.6, 8: 0.3, 12: 0.2})
OTHERS = [(split, rule) for split in ("train", "held_out") for rule in ("id", "ood")][:3]


@pytest.mark.parametrize(("split", "rule"), OTHERS)
@pytest.mark.parametrize("best", STEPS)
def test_what_is_not_held_out_ood_does_not_move_the_choice(split, rule, best):
    """Whichever checkpoint is best elsewhere, and however many rows say so."""
    alone = landmarks.choose(HELD_OUT, "auto", 8, "ppo-from-8")
    assert alone["maxood"]["checkpoint"] == "sft-4"
    other = attempts(split, rule, {step: float(step == best) for step in STEPS})
    rows = pd.concat([HELD_OUT, *[other] * 5], ignore_index=True)
    assert landmarks.choose(rows, "auto", 8, "ppo-from-8") == alone
