"""The table behind every figure, of a small synthetic study: OOD accuracy peaks early, then falls.

`TABLES` makes them by name, with all columns of their schemas.
"""

from functools import lru_cache
from itertools import combinations, product

import near_tables
import numpy as np
import pandas as pd
import rl_tables
import system_tables
import task_tables

from healscope.edit_kinds import CONTROLS, KINDS
from healscope.schema import check
from healscope.schemas import by_path

STEPS = (0, 9, 21, 59, 116, 192, 286, 400)
STARTS = (0, 21, 59, 116, 192, 400)
SFT = {
    "id": (0.00, 0.20, 0.31, 0.38, 0.42, 0.45, 0.48, 0.50),
    "ood": (0.00, 0.29, 0.33, 0.27, 0.22, 0.15, 0.09, 0.05),
}
RL = {
    "id": (0.02, 0.44, 0.50, 0.53, 0.54, 0.55),
    "ood": (0.01, 0.31, 0.33, 0.28, 0.19, 0.04),
}
SEEDS = ("0", "1")


def with_intervals(rows: list[dict], value: str, width: float = 0.05) -> pd.DataFrame:
    """One row a seed, 0.02 apart, and their mean as seed "all"."""
    frames = []
    for seed, shift in (("0", -0.02), ("1", 0.02), ("all", 0.0)):
        frame = pd.DataFrame(rows).assign(track="tiny", seed=seed)
        frame[value] += shift
        frame["low"], frame["high"] = frame[value] - width, frame[value] + width
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def landmarks() -> pd.DataFrame:
    checkpoints = {
        "maxood": "sft-9, sft-21",
        "maxood_uncorrected": "sft-21",
        "end": "sft-400",
        "rl": "ppo-from-400",
    }
    heights = {"id": (0.30, 0.31, 0.50, 0.55), "ood": (0.30, 0.33, 0.05, 0.19)}
    frame = with_intervals(
        [
            {"landmark": mark, "checkpoint": name, "rule": rule, "n": 640, "accuracy": height}
            for rule in SFT
            for (mark, name), height in zip(checkpoints.items(), heights[rule], strict=True)
        ],
        "accuracy",
    )
    return frame.assign(checkpoint=frame["checkpoint"].where(frame["seed"] != "all"))


def sft_training() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frames = []
    for seed in SEEDS:
        step = np.arange(0, 401, 10)
        noise = rng.normal(0, 0.02, (3, len(step)))
        fall = np.exp(-step / 12)
        frames.append(
            pd.DataFrame(
                {
                    "track": "tiny",
                    "seed": seed,
                    "step": step,
                    "train_loss_nats": np.where(step == 0, np.nan, 0.3 + 2 * fall),
                    "id_train_loss_nats": 0.42 - step * 5e-4 + 2 * fall + noise[0],
                    "id_test_loss_nats": 0.46 - step * 2e-4 + 2 * fall + noise[1],
                    "ood_test_loss_nats": 0.6 + step * 3e-3 + 1.9 * fall + noise[2],
                    "id_test_format_error_share": np.exp(-step / 6),
                    "ood_test_format_error_share": np.exp(-step / 8),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def curves() -> pd.DataFrame:
    rows = []
    for stage, steps, values in (("sft", STEPS, SFT), ("rl", STARTS, RL)):
        for rule in values:
            for split in ("held_out", "train"):
                for step, value in zip(steps, values[rule], strict=True):
                    value += 0.12 * (split == "train") * (rule == "id") * (step > 0)
                    rows.append(
                        {"stage": stage, "step": step, "checkpoint": f"{stage}-{step}",
                         "split": split, "rule": rule, "n": 640, "accuracy": value}
                    )  # fmt: skip
    return with_intervals(rows, "accuracy", 0.04)


def rl_window() -> pd.DataFrame:
    rows = []
    for rule in SFT:
        for start, after in zip(STARTS, RL[rule], strict=True):
            before = SFT[rule][STEPS.index(start)]
            rows.append(
                {"start": start, "rule": rule, "before": before, "after": after,
                 "change": after - before}
            )  # fmt: skip
    return with_intervals(rows, "change", 0.04)


ENDS = {
    "sft": {"id": (0.50, 0.31), "ood": (0.05, 0.33)},
    "rl": {"id": (0.55, 0.50), "ood": (0.19, 0.05)},
}
PLACES = {"rank": (0.0625, 0.2, 0.7, 1.0), "layers": (1.0, 2.0)}
# of every kind, how much of the way back it goes; values do nothing
STRENGTHS = {
    kind: 0.03 if about.figure == "values" else 0.9 - 0.08 * i
    for i, (kind, about) in enumerate(KINDS.items())
}
MATCHED = dict(zip(CONTROLS, np.linspace(0.8, -0.5, len(CONTROLS)), strict=True))


def edits(target: float, parent: float):
    """(name, kind, axis, amount, control, accuracy, how far) of every edit of a sweep."""
    for (kind, strength), axis in product(STRENGTHS.items(), PLACES):
        if axis == "rank" and not KINDS[kind].of:
            continue
        for amount in PLACES[axis]:
            share = strength * (amount / max(PLACES[axis])) ** 0.5
            name = f"{kind}-{axis}-{amount:g}"
            yield name, kind, axis, amount, "", target + share * (parent - target), share
            if kind in ("values", "directions") and amount in (0.2, 0.7, 1.0):
                for control, gain in MATCHED.items():
                    height = max(target + gain * share * (parent - target), 0.03)
                    yield f"{name}-as-{control}", kind, axis, amount, control, height, share


def reversion(stage: str) -> pd.DataFrame:
    rows = []
    for rule, (target, parent) in ENDS[stage].items():
        target_name, parent_name = ("end", "maxood") if stage == "sft" else ("rl", "end")
        found = [
            (target_name, "none", "", 0.0, "", target, 0.0),
            (parent_name, "parent", "", 0.0, "", parent, 1.0),
            *edits(target, parent),
        ]
        rows += [
            {"rule": rule, "name": name, "kind": kind, "axis": axis, "amount": amount,
             "control": control, "accuracy": height, "from_target": far,
             "from_parent": (1 + far**2 - 1.6 * far) ** 0.5}
            for name, kind, axis, amount, control, height, far in found
        ]  # fmt: skip
    return with_intervals(rows, "accuracy", 0.035).assign(stage=stage, n=640)


CONTROL_SIZES = {"": 1.0, "noise": 0.7, "spectrum": 0.6, "bf16": 0.02, "again": 1e-12}


def repair() -> pd.DataFrame:
    both = {rule: list(edits(*ends)) for rule, ends in ENDS["sft"].items()}
    rows = []
    for cost, gain in zip(both["id"], both["ood"], strict=True):
        rows.append([*cost[:5], cost[5] - 0.50, gain[5] - 0.05])
    rows += [["maxood", "parent", "", 0.0, "", -0.19, 0.28], ["rl", "rl", "", 0.0, "", 0.01, 0.14]]
    rows += [[f"cheapest for {s}%", "pick", "", s / 100, "", -0.1, 0.2] for s in (50, 80)]
    named = ["name", "kind", "axis", "amount", "control", "id_change", "ood_change"]
    frame = pd.DataFrame(rows, columns=named).assign(track="tiny", seed="all")
    for rule in ("id", "ood"):
        frame[f"{rule}_low"] = frame[f"{rule}_change"] - 0.04
        frame[f"{rule}_high"] = frame[f"{rule}_change"] + 0.04
        frame[f"{rule}_by_seed"] = [[x - 0.01, x + 0.01] for x in frame[f"{rule}_change"]]
    frame["healed"] = frame["ood_change"].clip(lower=0) / 0.28
    frame["kept"] = 1 + frame["id_change"].clip(upper=0) / 0.5
    picked = "directions-rank-0.2 or swap-rank-0.7"
    front = frame["name"].str.fullmatch("(swap|directions)-rank-[0-9.]+")
    kept = [[cost / 4, 2 * cost] for cost in frame["id_change"]]
    frame["keepers"] = [["facts", "notes"]] * len(frame)
    frame["keepers_unit"] = [["share", "nats per token"]] * len(frame)
    frame["keepers_change"] = kept
    frame["keepers_low"] = [[x - 0.04 for x in pair] for pair in kept]
    frame["keepers_high"] = [[x + 0.04 for x in pair] for pair in kept]
    frame["unharmed"] = [["facts"] if pair[0] > 0.02 else [] for pair in kept]
    return frame.assign(front=front, picked=np.where(frame["kind"] == "pick", picked, ""))


def singular_values() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    sigma = 4 * np.exp(-np.arange(128) / 40)
    frames = []
    for seed, (pair, size), (control, share), layer, role in product(
        SEEDS, (("maxood--end", 0.03), ("end--rl", 0.008)), CONTROL_SIZES.items(), (0, 1), "qkvo"
    ):
        change = size * share * rng.normal(0.3, 1, 128) * np.exp(-np.arange(128) / 60)
        place = {"track": "tiny", "seed": seed, "pair": pair, "layer": layer, "role": role}
        values = {"index": np.arange(128), "sigma_a": sigma, "sigma_b": sigma + change}
        frames.append(pd.DataFrame({**place, "control": control, **values}))
    return pd.concat(frames, ignore_index=True)


def principal_angles() -> pd.DataFrame:
    sizes = {"base--end": 34.0, "base--rl": 36.0, "maxood--end": 25.0, "end--rl": 9.0}
    sides, fractions = ("left", "right"), (0.0625, 0.125, 0.25, 0.5, 0.75)
    frames = []
    for seed, pair, side, fraction, (control, share) in product(
        SEEDS, sizes, sides, fractions, CONTROL_SIZES.items()
    ):
        index = np.arange(round(128 * fraction))
        degrees = share * (sizes[pair] * (0.3 + 1.6 * (index + 1) / len(index)) + 2 * int(seed))
        place = {"track": "tiny", "seed": seed, "pair": pair, "layer": 0, "role": "k"}
        angles = {"index": index, "degrees": np.minimum(90, degrees), "control": control}
        frames.append(pd.DataFrame({**place, "side": side, "fraction": fraction, **angles}))
    return pd.concat(frames, ignore_index=True)


def weight_updates() -> pd.DataFrame:
    blocks = ("head", "bulk", "tail")
    parts = [f"diagonal-{x}" for x in blocks] + [f"{x}-{y}" for x in blocks for y in blocks]
    rng = np.random.default_rng(3)
    rows = []
    for seed, pair, control, role in product(
        SEEDS, ("base--end", "maxood--end", "end--rl"), ("", "noise", "spectrum", "bf16"),
        ("q", "v", "up"),
    ):  # fmt: skip
        place = {"track": "tiny", "seed": seed, "pair": pair, "control": control, "layer": 0,
                 "role": role, "fraction": np.nan}  # fmt: skip
        for part in [*parts, *(["outside"] if role == "up" else [])]:
            more = 3 if "head" in part and not control else 1
            energy = {"value": 0.1 * more * rng.uniform(0.8, 1.2), "chance": 0.1}
            rows.append({**place, "quantity": "energy", "part": part, **energy})
        for name, value in (("drift", 0.05), ("effective_rank", 100 if control else 60)):
            rows.append({**place, "quantity": name, "part": "", "value": value, "chance": np.nan})
    return pd.DataFrame(rows)


def hidden_states() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    centres = {"base": (-9, 4), "maxood": (-4, 1), "end": (5, 0), "rl": (3, 2)}
    frames = []
    for seed, position, rule in product(SEEDS, ("last", "mean"), SFT):
        place = {"track": "tiny", "seed": seed, "position": position, "rule": rule}
        for name, (x, y) in centres.items():
            scores = {"pc1": rng.normal(x, 1, 150), "pc2": rng.normal(y, 1.5, 150)}
            shares = {"share1": 0.41, "share2": 0.17}
            found = {"kind": "state", "landmark": name, "other": "", **scores, **shares}
            found["pair_id"] = [f"p{i}" for i in range(150)]
            frames.append(pd.DataFrame({**place, **found}))
        for a, b in combinations(centres, 2):
            for kind in ("distance", "cka"):
                value = rng.uniform(1, 9) if kind == "distance" else rng.uniform(0.5, 1)
                pair = {"kind": kind, "landmark": a, "other": b, "value": value, "pair_id": ""}
                frames.append(pd.DataFrame([{**place, **pair}]))
        back = {"value": rng.uniform(0.1, 0.3), "chance": 0.07, "pair_id": ""}
        end = {"kind": "way_back", "landmark": "end", "other": "rl", **back}
        frames.append(pd.DataFrame([{**place, **end}]))
    return pd.concat(frames, ignore_index=True)


def errors() -> pd.DataFrame:
    """Under the OOD rule the number step is forgotten and the formula step is not."""
    rows = []
    for rule, step in product(SFT, STEPS):
        written = 1 - np.exp(-step / 8)
        number = 0.95 if rule == "id" else 0.2 + 0.7 * np.exp(-step / 150)
        formula, legal = 0.6 - 0.4 * np.exp(-step / 60), 0.8
        shares = {
            "first error": {
                "none": written * number * formula,
                "format": 1 - written,
                "number_line": written * (1 - number),
                "formula_numbers": written * number * (1 - formula) * (1 - legal),
                "arithmetic": written * number * (1 - formula) * legal,
            },
            "success": {"format": written, "number step": number, "formula step": formula},
            "loss": {"number step": 2 - 1.9 * number, "formula step": 1.1 - formula},
        }
        for kind, values in shares.items():
            for name, value in values.items():
                place = {"stage": "sft", "step": step, "rule": rule, "kind": kind, "name": name}
                rows.append({**place, "n": 640, "value": value})
    return with_intervals(rows, "value")


def factorial() -> pd.DataFrame:
    rows = []
    for i, step in enumerate(STEPS):
        cells = {
            f"{rule}/{composition}": SFT[rule][i] * (1 - 0.2 * (composition == "face"))
            for rule in SFT
            for composition in ("any", "face")
        }
        effects = {
            "rule, any hand": cells["ood/any"] - cells["id/any"],
            "rule, hands with a face card": cells["ood/face"] - cells["id/face"],
            "composition, ID rule": cells["id/face"] - cells["id/any"],
            "composition, OOD rule": cells["ood/face"] - cells["ood/any"],
            "published contrast (both at once)": cells["ood/face"] - cells["id/any"],
        }
        for kind, values in (("cell", cells), ("effect", effects)):
            for name, value in values.items():
                place = {"stage": "sft", "step": step, "checkpoint": f"sft-{step}"}
                rows.append({**place, "kind": kind, "name": name, "instances": 111, "value": value})
    return with_intervals(rows, "value")


def protocols() -> pd.DataFrame:
    """The drawn hands are not sampled, and their attempts have full feedback in between alone."""
    gains = {
        "first_attempt": 0,
        "first_attempt_retried": 0.01,
        "pass_at_1": 0.02,
        "pass_at_k": 0.2,
        "after_none": 0.06,
        "after_outcome": 0.1,
        "after_full": 0.26,
    }
    rows = []
    for protocol, split, rule in product(("exhaustive", "paper"), ("held_out", "any"), SFT):
        for step, value in zip(STEPS, SFT[rule], strict=True):
            paper = protocol == "paper"
            row = {
                "protocol": protocol,
                "stage": "sft",
                "step": step,
                "checkpoint": f"sft-{step}",
                "rule": rule,
                "split": split,
                "k": 0 if paper else 8,
                "attempts": 5 if paper else 3,
            }
            for name, gain in gains.items():
                known = not paper or name.startswith("first") or name == "after_full"
                mean = value + gain + 0.08 * paper if known else np.nan
                row |= {name: mean, f"{name}_low": mean - 0.05, f"{name}_high": mean + 0.05}
            rows += [{**row, "seed": seed, "track": "tiny"} for seed in ("all", *SEEDS)]
    return pd.DataFrame(rows)  # fmt: skip


def groups() -> pd.DataFrame:
    """Two OOD sets: one falls as the rule does, one stays; a twin less changes little."""
    rows = []
    for stage, steps, values in (("sft", STEPS, SFT), ("rl", STARTS, RL)):
        for rule, group, twins in product(values, ("all", "german", "long"), ("kept", "left_out")):
            if rule == "id" and group != "all":
                continue
            for step, value in zip(steps, values[rule], strict=True):
                share = 0.6 if group == "long" else value - 0.01 * (twins == "left_out")
                place = {"stage": stage, "step": step, "checkpoint": f"{stage}-{step}"}
                rows.append(
                    place
                    | {"rule": rule, "group": group, "twins": twins, "n": 60, "accuracy": share}
                )
    return with_intervals(rows, "accuracy")


def keepers() -> pd.DataFrame:
    """Facts fall along SFT and come back a little after RL, another keeper stays, and a text gets
    less and less probable."""
    levels = SFT | {"facts": [0.6 - 0.05 * i for i in range(8)], "mine": [0.3] * 8}
    levels["notes"] = [-2.5 - 0.2 * i for i in range(8)]
    rows = []
    for name, values in levels.items():
        kind = "rule" if name in SFT else "keeper"
        after = {s: values[STEPS.index(s)] + 0.05 * (kind == "keeper") for s in STARTS}
        along = [("sft", step, value, "") for step, value in zip(STEPS, values, strict=True)]
        for stage, step, value, recipe in along + [("rl", s, v, "ppo") for s, v in after.items()]:
            checkpoint = f"sft-{step}" if stage == "sft" else f"ppo-from-{step}"
            rows.append(
                {"kind": kind, "keeper": name, "at": "checkpoint", "checkpoint": checkpoint,
                 "stage": stage, "step": step, "recipe": recipe, "value": value,
                 "change": value - values[0]}
            )  # fmt: skip
        marks = {"base": values[0], "maxood": values[2], "end": values[-1], "rl": after[400]}
        rows += [
            {"kind": kind, "keeper": name, "at": "landmark", "checkpoint": mark, "stage": "",
             "step": None, "recipe": "ppo" if mark == "rl" else "", "value": value,
             "change": value - values[0]}
            for mark, value in marks.items()
        ]  # fmt: skip
    frame = with_intervals(rows, "value").astype({"step": "Int64"})
    frame["unit"] = np.where(frame["keeper"] == "notes", "nats per token", "share")
    return frame.assign(change_low=frame["change"] - 0.05, change_high=frame["change"] + 0.05)


def of_episodes() -> pd.DataFrame:
    """Whole ones fall with the steps, faster; a second try helps a little."""
    rows = []
    for stage, steps, values in (("sft", STEPS, SFT), ("rl", STARTS, RL)):
        for rule in values:
            for step, value in zip(steps, values[rule], strict=True):
                place = {"protocol": "exhaustive", "stage": stage, "step": step, "rule": rule}
                place["checkpoint"] = f"{stage}-{step}"
                place |= {"split": "held_out", "n": 60}
                for way, more in (("first", 0.0), ("after_full", 0.04)):
                    for measure, share in (
                        ("episode", value + more),
                        ("step", (value + more) ** 0.2),
                        ("step_reached", (value + more) ** 0.3),
                    ):
                        rows.append(place | {"way": way, "measure": measure, "share": share})
    return with_intervals(rows, "share")


def signals() -> pd.DataFrame:
    step = np.array(STEPS)
    rise, fall = np.sqrt(step / 400), np.exp(-step / 12)
    frames = []
    for seed, shift in (("all", 0.0), ("0", -0.02), ("1", 0.02)):
        frames.append(
            pd.DataFrame(
                {
                    "track": "tiny",
                    "seed": seed,
                    "step": step,
                    "id_train_loss_nats": 0.42 + 2 * fall - 0.1 * rise + shift,
                    "id_test_loss_nats": 0.46 + 2 * fall + shift,
                    "id_train_accuracy": np.array(SFT["id"]) + 0.1 * rise + shift,
                    "id_test_accuracy": np.array(SFT["id"]) + shift,
                    "id_entropy_nats": 0.3 + fall + shift,
                    "id_kl_from_base_nats": 3 * rise + shift,
                    "neutral_kl_from_base_nats": rise**2 + shift,
                    "weight_drift": 0.2 * rise + shift / 10,
                    "rotation_degrees": 30 * rise + shift,
                    "ood_test_accuracy": np.roll(SFT["ood"], int(seed == "1")) + shift,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def stopping() -> pd.DataFrame:
    names = [name for name in signals() if name not in ("track", "seed", "step")][:-1]
    rules = [(name, rule) for name in names for rule in ("optimum", "knee", "level")]
    rules = [(n, r) for n, r in rules if r != "optimum" or "loss" in n or "accuracy" in n]
    rules += [("last checkpoint", "none"), ("any checkpoint, picked blindly", "none")]
    rows = []
    for i, (signal, rule) in enumerate(rules):
        needs = "OOD labels of other runs" if rule == "level" else "nothing"
        regret = (-0.02, 0.28, 0.05, 0.12, 0.2)[i % 5] + i * 0.001
        rows.append(
            {"track": "tiny", "seed": "all", "signal": signal, "rule": rule, "needs": needs,
             "stops_at": "9, 21", "regret": regret, "low": regret - 0.06, "high": regret + 0.06,
             "by_seed": [regret - 0.03, regret + 0.03]}
        )  # fmt: skip
    frame = pd.DataFrame(rows).sort_values("regret", ignore_index=True)
    return frame.assign(rank=range(1, len(frame) + 1))


def arms() -> pd.DataFrame:
    rows = []
    for rule, (i, step) in product(SFT, enumerate(STEPS)):
        gain = (0.12 if rule == "ood" else -0.05) * np.sqrt(step / 400)
        at = {"step": step, "rule": rule, "n": 640}
        rows.append({"arm": "sft", "kind": "level", **at, "accuracy": SFT[rule][i]})
        shares = {"diverse": 1.0, "solutions": 0.5, "kl_strong": 0.8, "kl": 0.6, "dft": 0.4}
        for arm, more in ((arm, share * gain) for arm, share in shares.items()):
            level = SFT[rule][i] + more
            rows.append({"arm": arm, "kind": "level", **at, "accuracy": level})
            rows.append({"arm": arm, "kind": "difference", **at, "accuracy": more})
    return with_intervals(rows, "accuracy")


def gate(forgetting: str = "present", recovery: str = "undecided") -> pd.DataFrame:
    rows = [
        ("forgetting", "sft", "maxood", "end", False, "absent", -0.03),
        ("forgetting", "sft", "maxood", "sft-400", True, forgetting, -0.28),
        ("recovery", "rl", "end", "rl", True, recovery, 0.02),
    ]
    return pd.DataFrame(
        [
            {"track": "tiny", "phenomenon": phenomenon, "stage": stage, "first": first,
             "second": second, "edited": edited, "answer": answer,
             "effect": effect, "low": effect - 0.05, "high": effect + 0.05,
             "by_seed": [effect, effect], "seeds": 2, "instances": 111, "detectable": 0.07}
            for phenomenon, stage, first, second, edited, answer, effect in rows
        ]
    )  # fmt: skip


_MADE = {
    "landmarks": landmarks,
    "sft-training": sft_training,
    "curves": curves,
    "rl-window": rl_window,
    "reversion-sft": lambda: reversion("sft"),
    "reversion-rl": lambda: reversion("rl"),
    "repair": repair,
    "singular-values": singular_values,
    "principal-angles": principal_angles,
    "weight-updates": weight_updates,
    "hidden-states": hidden_states,
    "errors": errors,
    "factorial": factorial,
    "protocols": protocols,
    "signals": signals,
    "stopping": stopping,
    "arms": arms,
    "episodes": of_episodes,
    "groups": groups,
    "keepers": keepers,
    "neighbours": near_tables.neighbours,
    "rl-training": rl_tables.rl_training,
    "window": rl_tables.window,
    "recipes": rl_tables.recipes,
    "task-landmarks": task_tables.task_landmarks,
    "task-curves": task_tables.task_curves,
    **system_tables.MADE,
}


@lru_cache
def table(name: str) -> pd.DataFrame:
    """A table as its schema has it, with values that figures do not show made up."""
    frame = _MADE[name]()
    schema = by_path(f"results/tables/{name}.parquet")
    for column in schema.columns:
        if column.name in frame and column.kind == "float":
            frame[column.name] = frame[column.name].clip(column.low, column.high)
        elif column.name not in frame:
            plain = {"string": column.allowed[0] if column.allowed else "x", "bool": False}
            value = None if column.nullable else plain.get(column.kind, column.low or 0)
            frame[column.name] = [[0.0]] * len(frame) if column.kind == "floats" else value
    check(frame, schema)
    return frame


def two_models(name: str) -> pd.DataFrame:
    """The same of two models."""
    frame = table(name)
    other = {"track": "wide", **({"model": "wide"} if "model" in frame else {})}
    return pd.concat([frame, frame.assign(**other)], ignore_index=True)
