"""A small synthetic RL study: its training logs, and the tables that are made from such logs.

The main recipe starts everywhere; from the base it never gets off the ground. From step 59 it
stands beside other recipes and controls: one is paid for the format and hacks it, one failed in one
seed, one in all.
"""

import numpy as np
import pandas as pd

STARTS = (0, 21, 59, 116, 192, 400)
SEEDS = ("0", "1", "2")
OTHERS = ("ppo_reference", "grpo", "dapo", "dr_grpo", "rloo", "dpo", "rft", "ppo_canonical",
          "format_only", "sft_more", "sft_fresh_any", "sft_kl", "average", "diverging")  # fmt: skip
KINDS = {name: "control" for name in OTHERS if name.startswith(("sft", "average"))}
REWARDS = {"ppo_canonical": "canonical", "format_only": "format + 0.5 prefix"}
FAILED = {("grpo", 59, "2"), ("ppo", 0, "2")}
# start -> success at first and at last
SUCCESS = {0: (0.0, 0.02), 21: (0.22, 0.5), 59: (0.4, 0.72), 116: (0.55, 0.78), 192: (0.68, 0.8),
           400: (0.9, 0.93)}  # fmt: skip


def branches() -> list[tuple[str, int]]:
    return [("ppo", start) for start in STARTS] + [(name, 59) for name in OTHERS]


def rl_training(iterations: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frames = []
    for recipe, start in branches():
        rl = recipe not in KINDS
        for seed in SEEDS:
            fails = recipe == "diverging" or (recipe, start, seed) in FAILED
            n = 1 if recipe == "average" else iterations // 3 if fails else iterations
            i = np.arange(1, n + 1)
            first, last = SUCCESS[start]
            success = first + (last - first) * (1 - np.exp(-i / 20)) + rng.normal(0, 0.02, n)
            if recipe == "format_only":
                success = 0.4 - 0.2 * i / n + rng.normal(0, 0.02, n)
            reward = 3 * success - 1 + rng.normal(0, 0.05, n)
            if recipe == "format_only":
                reward = 0.5 + 0.7 * i / n
            parted = (i > 25) & (recipe == "format_only")
            frames.append(
                pd.DataFrame(
                    {
                        "track": "tiny", "seed": seed, "run": f"{recipe}-from-{start}",
                        "recipe": recipe, "start": start, "iteration": i,
                        "kind": KINDS.get(recipe, "rl"), "main": recipe == "ppo",
                        "landmark": (recipe, start) == ("ppo", 59),
                        "reward": REWARDS.get(recipe, "verdict") if rl else "",
                        "reward_mean": reward if rl else np.nan,
                        "correct_share": success.clip(0, 1) if rl else np.nan,
                        "policy_loss": rng.normal(0, 0.02, n) - 0.05 * np.exp(-i / 9),
                        "hacking_alarm": parted,
                        "failure": np.where((i == n) & fails, "loss is nan", ""),
                    }
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def window() -> pd.DataFrame:
    rows = []
    for k, seed in enumerate(SEEDS):
        for j, (start, (first, _)) in enumerate(SUCCESS.items()):
            lost = ("ppo", start, seed) in FAILED
            healing = 0.12 * np.exp(-(((first - 0.6) / 0.25) ** 2)) + 0.01 * k - 0.02 * (j % 2)
            rows.append(
                {"track": "tiny", "seed": seed, "start": start, "positive_share": first + 0.02 * k,
                 "advantage_entropy_nats": 1 + first * (1 - first) * 5 + 0.05 * k,
                 "entropy_nats": 1.2 - 0.15 * j + 0.04 * k, "kl_from_base_nats": 0.3 * j + 0.05 * k,
                 "healing": np.nan if lost else healing}
            )  # fmt: skip
    single = pd.DataFrame(rows)
    whole = single.drop(columns="seed").groupby(["track", "start"], as_index=False).mean()
    return pd.concat([whole.assign(seed="all"), single], ignore_index=True)


def recipes() -> pd.DataFrame:
    rows = []
    for j, (recipe, start) in enumerate(branches()):
        value = 0.12 - 0.03 * (j % 7) if recipe != "format_only" else -0.25
        for k, seed in enumerate(("all", *SEEDS)):
            lost = recipe == "diverging" or (recipe, start, seed) in FAILED
            healing = np.nan if lost else value + (0, -0.03, 0.0, 0.03)[k]
            partly = (recipe, start, "2") in FAILED and seed == "all"
            rows.append(
                {"track": "tiny", "recipe": recipe, "start": start, "seed": seed,
                 "kind": KINDS.get(recipe, "rl"), "main": recipe == "ppo",
                 "healing": healing, "low": healing - 0.06, "high": healing + 0.06,
                 "id_change": healing / 2 + 0.05, "hacking": recipe == "format_only",
                 "failed": "seed 2: loss is nan" if lost or partly else ""}
            )  # fmt: skip
    return pd.DataFrame(rows)
