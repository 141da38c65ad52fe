"""Tables of the findings about RL after SFT, as `figure_tables` makes the others."""

from itertools import product

import numpy as np
import pandas as pd

SEEDS = ("0", "1", "all")


def _seeded(rows: list[dict], value: str, width: float = 0.05) -> pd.DataFrame:
    frames = []
    for seed, shift in zip(SEEDS, (-0.02, 0.02, 0.0), strict=True):
        frame = pd.DataFrame(rows).assign(track="tiny", seed=seed)
        frame[value] += shift
        frame["low"], frame["high"] = frame[value] - width, frame[value] + width
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def forms() -> pd.DataFrame:
    shares = {"fA": (0.2, 0.33, 0.7), "fB": (0.5, 0.45, 0.2), "fC": (0.3, 0.22, 0.1)}
    measures = "share at the start", "selected", "share"
    rows = [
        {"measure": measure, "form": form, "value": value}
        for form, values in shares.items()
        for measure, value in zip(measures, values, strict=True)
    ]
    solved = {
        "pass@1 at the start": 0.2, "pass@1": 0.4, "pass@k at the start": 0.8, "pass@k": 0.78,
        "new by chance": 0.1, "new": 0.12,
    }  # fmt: skip
    rows += [{"measure": m, "form": "", "value": v} for m, v in solved.items()]
    return _seeded([r | {"recipe": "ppo_forms", "start": 0, "rule": "id"} for r in rows], "value")


def phases() -> pd.DataFrame:
    rows = [
        {"recipe": "ppo", "start": start, "iteration": i, "kind": kind, "n": 256,
         "hazard": height * np.exp(-i / rate), "entropy_nats": 0.1 + height / 2}
        for start in (21, 59)
        for kind, height, rate in (("plan", 0.6, 80), ("execution", 0.3, 20))
        for i in range(1, 100, 10)
    ]  # fmt: skip
    return _seeded(rows, "hazard")


def sparsity() -> pd.DataFrame:
    arms = {"rl": 0.4, "sft": 0.1, "sft scaled": 0.35, "noise": 0.2}
    rows = [
        {"arm": arm, "stored": stored, "unchanged": share * by, "norm": 1.0, "rank": 1.0}
        for (arm, share), (stored, by) in product(
            arms.items(), {"bf16": 1.0, "1e-5": 0.3, "float32": 0.1}.items()
        )
    ]
    return _seeded(rows, "unchanged").drop(columns=["low", "high"])


def hard_samples() -> pd.DataFrame:
    arms = {
        "grpo_medium": ("pass rate 30 to 70%", "binary", 0.02),
        "grpo_hard": ("pass rate 0 to 10%", "binary", -0.04),
        "grpo_hard_leaky": ("pass rate 0 to 10%", "value_only", -0.4),
    }
    rows = [
        {"recipe": arm, "start": 59, "trained_on": on, "reward": reward, "algorithm": "grpo",
         "pool": pool, "measure": measure, "n": 100, "change": change * by}
        for arm, (on, reward, change) in arms.items()
        for pool, by in {"easy": 1.0, "medium": 0.5, "hard": 0.2, "ood": 0.8}.items()
        for measure in ("accuracy", "one formula", "no number line")
    ]  # fmt: skip
    return _seeded(rows, "change")


def numbers() -> pd.DataFrame:
    levels = {"training rule": (0.3, 0.35), "numbers seen": (0.27, 0.3)}
    levels["numbers unseen"] = (0.26, 0.1)
    rows = [
        {"stage": stage, "step": step, "checkpoint": f"sft-{step}" if stage == "sft" else
         f"ppo-from-{step}", "numbers": numbers, "neighbour": "all", "distance": 0, "n": 225,
         "accuracy": first + (last - first) * share + (0.05 if stage == "rl" else 0)}
        for numbers, (first, last) in levels.items()
        for stage, step, share in (("sft", 9, 0.0), ("sft", 59, 0.4), ("sft", 400, 1.0),
                                   ("rl", 59, 0.4))
    ]  # fmt: skip
    return _seeded(rows, "accuracy")


def without_one() -> pd.DataFrame:
    rows = []
    for hand, heights in {
        "whole": (0.0, 0.3, 0.4, 0.5),
        "a card less": (0.1, 0.4, 0.3, 0.1),
    }.items():
        for step, height in zip((0, 21, 59, 400), heights, strict=True):
            sft = {"stage": "sft", "recipe": "", "checkpoint": f"sft-{step}"}
            rl = {"stage": "rl", "recipe": "ppo", "checkpoint": f"ppo-from-{step}"}
            rows.append({**sft, "step": step, "hand": hand, "n": 300, "accuracy": height + 0.05})
            rows.append({**rl, "step": step, "hand": hand, "n": 300, "accuracy": height})
    return _seeded(rows, "accuracy")


def faithfulness() -> pd.DataFrame:
    heights = {
        "identity": (1.0, 1.0, 1.0), "follows": (0.9, 0.7, 0.4), "early": (0.1, 0.2, 0.4),
        "paraphrase": (0.5, 0.5, 0.6), "filler": (0.1, 0.3, 0.3), "counterfactual": (0.1, 0.2, 0.3),
    }  # fmt: skip
    rows = [
        {"stage": stage, "recipe": recipe, "checkpoint": f"{name}-{step}", "step": step, "n": 300,
         "rule": "id", "measure": measure, "share": height * by}
        for measure, values in heights.items()
        for step, height in zip((21, 59, 400), values, strict=True)
        for stage, recipe, name, by in (("sft", "", "sft", 1.0), ("rl", "ppo", "ppo-from", 0.9))
    ]  # fmt: skip
    return _seeded(rows, "share")


def calibration() -> pd.DataFrame:
    heights = {
        "accuracy": (0.3, 0.4, 0.5), "confidence": (0.35, 0.5, 0.7),
        "overconfidence": (0.05, 0.1, 0.2), "brier": (0.2, 0.2, 0.25),
        "recalibrated": (0.18, 0.18, 0.18), "constant": (0.21, 0.24, 0.25),
        "reliability": (0.02, 0.02, 0.07), "resolution": (0.03, 0.06, 0.07),
        "uncertainty": (0.21, 0.24, 0.25),
    }  # fmt: skip
    rows = [
        {"stage": stage, "recipe": recipe, "checkpoint": f"{name}-{step}", "step": step, "n": 300,
         "rule": "id", "measure": measure, "value": height * by}
        for measure, values in heights.items()
        for step, height in zip((21, 59, 400), values, strict=True)
        for stage, recipe, name, by in (("sft", "", "sft", 1.0), ("rl", "ppo", "ppo-from", 1.2))
        if stage == "sft" or step == 59
    ]  # fmt: skip
    return _seeded(rows, "value")


def experience() -> pd.DataFrame:
    heights = {
        "sft": (0.6, 0.2), "world_model": (0.75, 0.4), "shuffled_world": (0.6, 0.2),
        "more_expert": (0.7, 0.2), "reflection": (0.65, 0.3),
    }  # fmt: skip
    rows = [
        {"arm": arm, "kind": kind, "step": step, "rule": rule, "begun": begun, "n": 120,
         "success": by * (height - (kind == "difference") * heights["sft"][i])}
        for arm, both in heights.items()
        for i, (begun, height) in enumerate(zip(("on route", "off route"), both, strict=True))
        for rule, by in (("id", 1.0), ("ood", 0.5))
        for kind in ("level", "difference")
        for step in (59, 400)
        if (arm, kind) != ("sft", "difference")
    ]  # fmt: skip
    return _seeded(rows, "success")


def knowledge() -> pd.DataFrame:
    ways = {
        "the start": (0.01, 1.0, 0.5), "the start, after the text": (0.4, 0.95, None),
        "RLAG": (0.35, 0.9, 0.45), "RLAG as released": (0.05, 0.5, 0.1),
        "SFT on the same answers": (0.3, 0.92, 0.2),
        "SFT in RLAG's steps": (0.1, 0.9, 0.3), "RLAG, false text": (0.01, 0.4, 0.4),
    }  # fmt: skip
    rows = [
        {"way": way, "start": 0, "measure": measure, "n": 300, "value": value,
         "trained_tokens": 40_000 * ("the start" not in way)}
        for way, values in ways.items()
        for measure, value in zip(("the rule", "coherent", "other rules"), values, strict=True)
        if value is not None
    ]  # fmt: skip
    table = _seeded(rows, "value")
    table[["value", "low", "high"]] = table[["value", "low", "high"]].clip(0, 1)
    return table


def memory() -> pd.DataFrame:
    kinds = {
        "none": (0, 0.0, 0.03), "knowledge": (7, 1.0, 0.4), "false knowledge": (7, 0.6, 0.03),
        "memory verbatim and verbatim": (48, 0.3, 0.1),
        "memory verbatim and lesson": (48, 1.0, 0.3),
        "memory lesson and verbatim": (48, 0.1, 0.04), "memory lesson and lesson": (48, 1.0, 0.32),
        "memory of another rule": (48, 0.6, 0.05), "shuffled memory": (48, 1.0, 0.1),
    }  # fmt: skip
    rows = [
        {"checkpoint": "sft-0", "kind": kind, "n": 200, "accuracy": height, "tokens": tokens,
         "leaks": leaks}
        for kind, (tokens, leaks, height) in kinds.items()
    ]  # fmt: skip
    table = _seeded(rows, "accuracy")
    table[["accuracy", "low"]] = table[["accuracy", "low"]].clip(0)
    return table


def confidence() -> pd.DataFrame:
    heights = {
        "accuracy": (0.3, 0.45, 0.44), "confidence": (0.5, 0.5, 0.46),
        "overconfidence": (0.2, 0.05, 0.02), "brier": (0.35, 0.32, 0.16),
        "recalibrated": (0.21, 0.25, 0.17), "constant": (0.21, 0.25, 0.25),
        "reliability": (0.14, 0.08, 0.01), "resolution": (0.0, 0.01, 0.1),
        "uncertainty": (0.21, 0.25, 0.25), "unstated": (0.0, 0.01, 0.02),
    }  # fmt: skip
    places = [
        {"stage": "sft", "recipe": "", "checkpoint": "sft-59"},
        {"stage": "rl", "recipe": "pays_binary", "checkpoint": "pays_binary-from-59"},
        {"stage": "rl", "recipe": "pays_brier", "checkpoint": "pays_brier-from-59"},
    ]
    rows = [
        {**place, "step": 59, "n": 300, "measure": measure, "value": value}
        for measure, values in heights.items()
        for place, value in zip(places, values, strict=True)
    ]
    return _seeded(rows, "value")


def what_breaks() -> pd.DataFrame:
    paid = {"verdict": 0.05, "binary": 0.06, "format": -0.2, "0.5 binary + 0.5 brier": 0.04}
    by = {"id": 1.0, "ood": 0.8, "a card less": -0.5, "easy": 0.4, "follows": 0.1,
          "one formula": -0.3, "miscalibration": -1.0}  # fmt: skip
    rows = [
        {"recipe": f"pays_{i}", "start": 59, "reward": reward, "outcome": outcome, "n": 300,
         "before": 0.05 if outcome == "a card less" else 0.3, "change": change * share}
        for i, (reward, change) in enumerate(paid.items())
        for outcome, share in by.items()
    ]  # fmt: skip
    return _seeded(rows, "change")


def steps() -> pd.DataFrame:
    arms = {"start": 0.1, "sft": 0.15, "whole": 0.2, "outcome": 0.2, "similar": 0.4,
            "similar_any": 0.45, "reachable": 0.35, "another": 0.1}  # fmt: skip
    pools = {"easy": 0.5, "medium": 0.25, "hard": 0.1, "ood": 0.2}
    rows = [
        {"start": 59, "arm": arm, "pool": pool, "measure": "accuracy", "n": 300,
         "share": height + more}
        for (arm, height), (pool, more) in product(arms.items(), pools.items())
    ]  # fmt: skip
    rows += [
        {"start": 59, "arm": arm, "pool": "", "measure": "signal", "n": 1, "share": share}
        for arm, share in {"whole": 0.5, "outcome": 0.4, "similar": 0.6, "another": 0.5}.items()
    ]
    return _seeded(rows, "share")


def critique() -> pd.DataFrame:
    repaired = {"none": 0.1, "leak": 0.2, "critique": 0.5, "another": 0.12}
    after = {"start": 0.3, "grpo": 0.4, "none": 0.42, "leak": 0.43, "critique": 0.5}
    rows = [
        {"start": 59, "measure": measure, "said": said, "rule": rule, "n": 100, "share": share * by}
        for measure, shares in (("repair", repaired), ("accuracy", after))
        for said, share in shares.items()
        for rule, by in (("id", 1.0), ("ood", 0.8))
    ]
    return _seeded(rows, "share")


MADE = {
    "critique": critique,
    "steps": steps,
    "experience": experience,
    "memory": memory,
    "knowledge": knowledge,
    "confidence": confidence,
    "what-breaks": what_breaks,
    "calibration": calibration,
    "faithfulness": faithfulness,
    "forms": forms,
    "phases": phases,
    "sparsity": sparsity,
    "hard-samples": hard_samples,
    "numbers": numbers,
    "without-one": without_one,
}
