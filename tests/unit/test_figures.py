"""Every figure from a small synthetic study, in which OOD accuracy peaks early and then falls."""

import os
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import near_tables
import numpy as np
import pandas as pd
import pytest
import rl_tables
import task_tables
from targets import first, later

from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.errors import HealscopeError
from healscope.figures import style as styling
from healscope.figures.catalogue import FIGURES, render
from healscope.figures.style import look

STYLE = FigureStyle()
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
                        {"stage": stage, "step": step, "checkpoint": f"sft-{step}",
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
STRENGTHS = {
    "values": 0.03, "directions": 0.9, "orthonormal": 0.7, "pinned": 0.8, "swap": 1.0,
    "diagonal": 0.04, "offdiagonal": 0.95, "block": 0.3, "complement": 0.75,
}  # fmt: skip
MATCHED = {"interpolation": 0.8, "noise": -0.3, "rotation": -0.2, "shuffle": -0.5, "rest": 0.6}


def edits(target: float, parent: float):
    """(name, kind, axis, amount, control, accuracy, how far) of every edit of a sweep."""
    for (kind, strength), axis in product(STRENGTHS.items(), PLACES):
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
    picked = "directions-rank-0.2 or swap-rank-0.7"
    front = frame["name"].str.fullmatch("(swap|directions)-rank-[0-9.]+")
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
            frames.append(pd.DataFrame({**place, **found}))
        for a, b in combinations(centres, 2):
            for kind in ("distance", "cka"):
                value = rng.uniform(1, 9) if kind == "distance" else rng.uniform(0.5, 1)
                pair = {"kind": kind, "landmark": a, "other": b, "value": value}
                frames.append(pd.DataFrame([{**place, **pair}]))
        back = {"value": rng.uniform(0.1, 0.3), "chance": 0.07}
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


def of_episodes() -> pd.DataFrame:
    """Whole ones fall with the steps, faster; a second try helps a little."""
    rows = []
    for stage, steps, values in (("sft", STEPS, SFT), ("rl", STARTS, RL)):
        for rule in values:
            for step, value in zip(steps, values[rule], strict=True):
                place = {"protocol": "exhaustive", "stage": stage, "step": step, "rule": rule}
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
    rows = [("forgetting", "sft", forgetting, -0.28), ("recovery", "rl", recovery, 0.02)]
    return pd.DataFrame(
        [
            {"track": "tiny", "phenomenon": phenomenon, "stage": stage, "answer": answer,
             "effect": effect, "low": effect - 0.05, "high": effect + 0.05,
             "by_seed": [effect, effect], "seeds": 2, "instances": 111, "detectable": 0.07}
            for phenomenon, stage, answer, effect in rows
        ]
    )  # fmt: skip


TABLES = {
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
    "neighbours": near_tables.neighbours,
    "rl-training": rl_tables.rl_training,
    "window": rl_tables.window,
    "recipes": rl_tables.recipes,
    "task-landmarks": task_tables.task_landmarks,
    "task-curves": task_tables.task_curves,
}
PUBLISHED = [str(Path(__file__).parents[2] / "config" / "published" / "fig1.csv")]
LLAMA = FigureStyle(published="llama-3.2-11b")
GATED = [name for name, entry in FIGURES.items() if entry.gate]
OVERLAID = [name for name, entry in FIGURES.items() if entry.overlay]


def drawn(
    name: str, frame: pd.DataFrame, folder: Path, style: FigureStyle = STYLE, **more: object
) -> tuple[bytes, bytes]:
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    render(name, frame, style, pdf, png, **more)
    return pdf.read_bytes(), png.read_bytes()


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are saved while a test runs."""
    kept = []
    save = styling.save
    monkeypatch.setattr(styling, "save", lambda f, *rest: (kept.append(f), save(f, *rest)))
    return kept


@pytest.fixture
def shown(monkeypatch):
    """The figure that `render` would save, which takes most of the time."""
    kept = []
    monkeypatch.setattr(styling, "save", lambda figure, *rest: kept.append(figure))

    def figure_of(name: str, frame: pd.DataFrame, style: FigureStyle = STYLE, **more: object):
        render(name, frame, style, "not written", "not written", **more)
        return kept[-1]

    return figure_of


def words_below(figure) -> str:
    return " ".join(figure.get_supxlabel().split())


OF_A_READER = {
    **mpl.style.library["dark_background"],
    "text.usetex": True,
    "figure.autolayout": True,
    "font.size": 14,
    "font.family": ["serif"],
    "lines.linewidth": 5,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
}
"""What a notebook or a matplotlibrc may have set."""


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(name, figures, tmp_path):
    """In a session with settings of its own, which stay as they are."""
    frame = TABLES[FIGURES[name].table]()
    untouched = frame.copy()
    with mpl.rc_context(OF_A_READER):
        before = dict(mpl.rcParams)
        pdf, png = drawn(name, frame, tmp_path)
        assert dict(mpl.rcParams) == before
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 8_000
    assert b"/CreationDate" not in pdf
    assert b"/Type3" not in pdf  # fonts are embedded as TrueType
    assert png.startswith(b"\x89PNG")
    assert len(png) > 15_000
    assert_legends_fit(figures[-1])
    pd.testing.assert_frame_equal(frame, untouched)


@pytest.mark.parametrize("name", first(("fig2b", "fig6", "fig15", "fig_errors"), FIGURES))
def test_a_figure_has_the_same_bytes_in_every_session(name, tmp_path):
    frame = TABLES[FIGURES[name].table]()
    plain = drawn(name, frame, tmp_path)
    with mpl.rc_context(OF_A_READER):
        assert plain == drawn(name, frame, tmp_path)


def test_bytes_do_not_depend_on_the_process(tmp_path):
    """String hashes and a matplotlibrc differ between processes; the files must not."""
    files = [str(tmp_path / name) for name in ("curves.parquet", "a.pdf", "a.png")]
    curves().to_parquet(files[0])
    code = (
        "import sys; import pandas as pd; from healscope.config import FigureStyle;"
        "from healscope.figures.catalogue import render;"
        "render('fig3a', pd.read_parquet(sys.argv[1]), FigureStyle(), *sys.argv[2:]);"
        "assert 'torch' not in sys.modules"
    )
    seen = set()
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nfigure.autolayout: True\nfont.size: 14\n")
    for seed, of_a_reader in (("1", ""), ("2", str(settings))):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "MATPLOTLIBRC": of_a_reader}
        subprocess.run([sys.executable, "-c", code, *files], env=environment, check=True)
        seen.add(tuple(Path(name).read_bytes() for name in files[1:]))
    assert len(seen) == 1


def test_the_catalogue_alone_imports_nothing_that_draws():
    """The workflow reads it at the start of every job."""
    code = (
        "import sys; import healscope.figures.catalogue;"
        "assert not {'matplotlib', 'seaborn', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_without_a_column_or_rows_is_named(name, tmp_path):
    entry, frame = FIGURES[name], TABLES[FIGURES[name].table]()
    for column in entry.columns:
        with pytest.raises(HealscopeError, match=rf"'{entry.table}'.* column {column}$"):
            drawn(name, frame.drop(columns=column), tmp_path)
    with pytest.raises(HealscopeError, match=rf"'{entry.table}'.*no rows"):
        drawn(name, frame.head(0), tmp_path)


def test_a_table_without_the_aggregate_is_refused(tmp_path):
    frame = curves()
    with pytest.raises(HealscopeError, match=r"'curves'.*seed 'all'"):
        drawn("fig3a", frame[frame["seed"] != "all"], tmp_path)


@pytest.mark.parametrize("palette", ["viridis", "Greys"])
def test_every_palette_keeps_the_series_apart(palette):
    style = FigureStyle(palette=palette)
    colours = {key: look(style, key)["color"] for key in ("id", "ood", "sft", "rl", "maxood")}
    assert len(set(colours.values())) == len(colours)


def test_fig3a_shows_the_data_and_nothing_else():
    frame = curves()
    (ax,) = FIGURES["fig3a"].draw(frame, STYLE).axes
    shown = frame[(frame["rule"] == "ood") & (frame["split"] == "held_out")]
    whole = shown[shown["seed"] == "all"].set_index("stage")

    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines["SFT"].get_xdata()) == list(STEPS)
    assert list(lines["SFT"].get_ydata()) == list(whole.loc["sft", "accuracy"])

    after = lines["after RL from this step"]
    assert list(after.get_xdata()) == list(STARTS)
    assert list(after.get_ydata()) == list(whole.loc["rl", "accuracy"])
    (bars,) = ax.containers
    ends = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, whole.loc["rl", ["low", "high"]])

    thin = [line for line in ax.lines if line.get_linewidth() < 1 and len(line.get_xdata()) > 2]
    assert sorted(len(line.get_xdata()) for line in thin) == [len(STARTS)] * 2 + [len(STEPS)] * 2
    # the accuracy of the best of many steps would flatter it
    assert ax.get_title(loc="right") == "best SFT step on average: 21"


def test_fig3_leaves_a_control_run_of_sft_out():
    frame = curves()
    control = frame[frame["stage"] == "sft"].assign(stage="diverse", accuracy=0.9)
    both = pd.concat([frame, control], ignore_index=True)
    for name in ("fig3a", "fig3b"):
        with_control, without = (FIGURES[name].draw(f, STYLE).axes[0] for f in (both, frame))
        assert len(with_control.lines) == len(without.lines)
        assert with_control.get_ylim() == without.get_ylim()


@pytest.mark.parametrize("asked", [["diverse"], ["solutions"], ["diverse", "solutions"]])
def test_fig_arms_has_a_row_for_each_control_that_was_asked_for(asked):
    frame = arms()
    frame = frame[frame["arm"].isin(["sft", *asked])]
    panels = FIGURES["fig_arms"].draw(frame, STYLE).axes
    assert len(panels) == 2 * len(asked)
    whole = frame[frame["seed"] == "all"].set_index(["arm", "kind", "rule"])["accuracy"]
    for left, right, arm in zip(panels[::2], panels[1::2], asked, strict=True):
        levels = {line.get_label(): list(line.get_ydata()) for line in left.lines}
        assert levels == {
            f"{rule.upper()} rule, {what}": list(whole[name, "level", rule])
            for rule in ("id", "ood")
            for what, name in (("SFT", "sft"), ("control", arm))
        }
        gaps = {line.get_label(): list(line.get_ydata()) for line in right.lines}
        assert gaps["OOD rule, difference"] == list(whole[arm, "difference", "ood"])


def test_fig_methods_has_a_panel_for_each_arm_and_their_changes_at_the_last_step():
    frame = arms()
    *curves, below = FIGURES["fig_methods"].draw(frame, STYLE).axes
    named = {
        "diverse": "paraphrased prompts", "solutions": "any correct answer",
        "kl": "KL to the base", "kl_strong": "kl_strong", "dft": "DFT",
    }  # fmt: skip
    assert [ax.get_title(loc="left") for ax in curves] == list(named.values())
    whole = frame[frame["seed"] == "all"].set_index(["arm", "kind", "rule"])["accuracy"]
    for ax, arm in zip(curves, named, strict=True):
        drawn = {line.get_label(): line for line in ax.lines}
        for label, name in (("plain SFT", "sft"), ("the method", arm)):
            assert list(drawn[label].get_xdata()) == list(whole[name, "level", "id"])
            assert list(drawn[label].get_ydata()) == list(whole[name, "level", "ood"])
    assert [label.get_text() for label in below.get_yticklabels()] == list(named.values())
    for container, rule in zip(below.containers, ("id", "ood"), strict=True):
        at_400 = [whole[arm, "difference", rule].iloc[-1] for arm in named]
        assert list(container.lines[0].get_xdata()) == at_400


def test_fig1_shows_the_corrected_maxood_and_marks_the_uncorrected():
    _, ood = FIGURES["fig1"].draw(landmarks(), STYLE).axes
    assert [patch.get_height() for patch in ood.patches] == pytest.approx([0.30, 0.05, 0.19])
    (tick,) = [c for c in ood.collections if c.get_label().startswith("MaxOOD")]
    ((left, right),) = tick.get_segments()
    assert left[1] == right[1] == 0.33
    labels = [label.get_text() for label in ood.get_xticklabels()]
    assert labels == ["MaxOOD\nstep 9–21", "End\nstep 400", "RL\nfrom 400"]


@pytest.mark.parametrize("name", GATED)
def test_the_gates_answer_stands_below_what_explains_a_phenomenon(name, shown):
    frame = TABLES[FIGURES[name].table]()
    given = ({}, {"answers": gate()}, {"answers": gate("absent", "absent")})
    without, below, refused = (words_below(shown(name, frame, **answers)) for answers in given)
    assert without == ""
    for stage, text in (
        ("sft", "tiny: OOD forgetting present (MaxOOD to End -28.0 points"),
        ("rl", "tiny: OOD recovery undecided (End to RL +2.0 points"),
    ):
        assert (f"Phenomenon gate \N{EM DASH} {text}" in below) == (stage in FIGURES[name].gate)
    verdict = "cannot be read as an explanation of it"
    assert below.count(verdict) == ("rl" in FIGURES[name].gate)
    assert refused.count(verdict) == len(FIGURES[name].gate)


@pytest.mark.parametrize(("context", "width"), [("paper", 5.5), ("paper", 3.5), ("talk", 11.0)])
def test_words_below_a_figure_fit_and_touch_nothing(context, width, shown):
    style = FigureStyle(context=context, width_inches=width)
    figure = shown("fig5", TABLES["reversion-rl"](), style, answers=gate())
    figure.draw_without_rendering()
    (words,) = [text for text in figure.texts if text.get_text().startswith("Phenomenon")]
    box = words.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    for ax in figure.axes:
        assert ax.get_tightbbox().y0 >= box.y1


@pytest.mark.parametrize("name", OVERLAID)
def test_published_values_are_drawn_over_where_a_model_is_named(name, shown):
    frame = TABLES[FIGURES[name].table]()

    def labels(figure) -> list[str]:
        return [label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]]

    unnamed, over = (shown(name, frame, style, published=PUBLISHED) for style in (STYLE, LLAMA))
    assert labels(unnamed) == labels(FIGURES[name].draw(frame, STYLE))
    assert not any(label.startswith("published") for label in labels(unnamed))
    assert any(label.startswith("published: llama-3.2-11b") for label in labels(over))
    note = over.legends[0].get_title().get_text()
    assert ("234 drawn hands" in " ".join(note.split())) == (name in ("fig1", "fig3a"))


def test_published_values_are_those_of_the_model_and_not_read_off_a_picture(shown):
    (ax,) = shown("fig3a", curves(), LLAMA, published=PUBLISHED).axes
    lines = {line.get_label(): line for line in ax.lines}
    x, y = lines["published: llama-3.2-11b, SFT"].get_data()
    assert (len(x), x.min(), x.max()) == (18, 0, 1600)
    assert dict(zip(x, y, strict=True))[140] == 0.1752
    assert ax.get_xlim()[1] > 1600


@pytest.mark.parametrize(("name", "main"), [("fig4", "values"), ("fig6", "directions")])
def test_controls_and_distances_stand_beside_the_edit(name, main):
    frame = TABLES["reversion-sft"]()
    panels = FIGURES[name].draw(frame, STYLE).axes
    assert len(panels) == 4 * len(PLACES)  # two rules, two distances
    whole = frame[(frame["seed"] == "all") & (frame["axis"] == "rank")].set_index("name")
    rules = {"id": panels[0], "ood": panels[2]}
    for rule, ax in rules.items():
        own = whole[whole["rule"] == rule]
        found = {bars.get_label(): bars.lines[0].get_data() for bars in ax.containers}
        assert len(found) == len(MATCHED)
        x, y = found["control: as far, at random"]
        assert list(x) == pytest.approx([0.2, 0.7, 1.0], abs=0.03)  # a little apart from others
        at = [f"{main}-rank-{a:g}-as-noise" for a in (0.2, 0.7, 1.0)]
        assert list(y) == list(own.loc[at, "accuracy"])
    lines = [line.get_ydata() for line in panels[4].lines]
    names = [f"{main}-rank-{a:g}" for a in PLACES["rank"]]
    far = [0.0, *whole.loc[whole["rule"] == "ood"].loc[names, "from_target"]]
    assert any(len(y) == len(far) and np.allclose(y, far) for y in lines)


def crowded() -> pd.DataFrame:
    """Edits of figure 6 with the controls of three further kinds."""
    frame = TABLES["reversion-sft"]()
    controls = frame[(frame["control"] != "") & (frame["kind"] == "directions")]
    more = [controls.assign(kind=kind) for kind in ("pinned", "offdiagonal", "block")]
    return pd.concat([frame, *more], ignore_index=True)


def assert_legends_fit(figure):
    figure.draw_without_rendering()
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_controls_of_several_kinds_fit_and_are_told_apart():
    figure = FIGURES["fig6"].draw(crowded(), STYLE)
    assert_legends_fit(figure)
    panel = figure.axes[0]
    looks = {
        (line.get_color(), line.get_marker(), str(line.get_markerfacecolor())): bars.get_label()
        for bars in panel.containers
        for line in bars.lines[:1]
    }
    labels = {bars.get_label() for bars in panel.containers}
    assert set(looks.values()) == labels


def test_every_kind_and_control_has_a_look_of_its_own():
    assert set(STRENGTHS) == set(KINDS)
    assert set(MATCHED) == set(CONTROLS)
    for figure in ("values", "directions"):
        group = [kind for kind in KINDS.values() if kind.figure == figure]
        assert len({(kind.marker, kind.face) for kind in group}) == len(group)
    looks = [(control.colour, control.marker) for control in CONTROLS.values()]
    assert len(set(looks)) == len(looks)


def test_fig6_is_drawn_without_controls_and_along_other_axes():
    frame = TABLES["reversion-sft"]()
    frame = frame[(frame["control"] == "") & (frame["axis"] != "layers")]
    band = frame["axis"] == "rank"
    frame.loc[band, ["axis", "amount"]] = ["band", 0.5]
    (panel, *_) = FIGURES["fig6"].draw(frame.drop_duplicates(["kind", "rule", "seed"]), STYLE).axes
    assert not panel.containers


def test_fig_repair_shows_every_edit_the_front_and_rl():
    frame = repair()
    figure = FIGURES["fig_repair"].draw(frame, STYLE)
    (ax,) = figure.axes
    shown = {line.get_label(): line for line in ax.lines}
    edits_of = {kind: shown[f"edit: {kind}"] for kind in STRENGTHS}
    for kind, line in edits_of.items():
        own = frame[(frame["kind"] == kind) & (frame["control"] == "")]
        assert sorted(line.get_xdata()) == sorted(own["id_change"])
    (front,) = [line for label, line in shown.items() if label == "beaten by no edit"]
    assert len(front.get_xdata()) == frame["front"].sum()
    assert {t.get_text() for t in ax.texts} <= set(frame.loc[frame["front"], "name"])
    note = " ".join(figure.legends[0].get_title().get_text().split())
    assert "of the loss, on instances that did not pick it: directions-rank-0.2" in note


def test_errors_of_all_answers_fill_the_panel():
    figure = FIGURES["fig_errors"].draw(errors(), STYLE)
    stack = figure.axes[0].collections
    assert len(stack) == 5
    assert len({area.get_hatch() for area in stack}) == 5  # told apart without colour
    assert stack[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1)


def test_protocols_that_were_not_run_are_left_out():
    frame = protocols()
    lines = len(FIGURES["fig_protocols"].draw(frame, STYLE).axes[0].lines)
    frame = frame[frame["protocol"] == "exhaustive"].assign(after_none=np.nan)
    assert len(FIGURES["fig_protocols"].draw(frame, STYLE).axes[0].lines) == lines - 2


def test_neighbours_are_drawn_from_the_training_rule_outwards():
    frame = near_tables.neighbours()
    figure = FIGURES["fig_neighbours"].draw(frame.sample(frac=1, random_state=0), STYLE)
    shown = {ax.get_title(loc="left"): ax for ax in figure.axes}
    assert len(shown) == 6
    for name, distances in {"cards": "\N{MINUS SIGN}1 0 1", "target": "0 1 2 4"}.items():
        assert " ".join(t.get_text() for t in shown[name].get_xticklabels()) == distances
    bars = {bar.get_label(): bar for bar in shown["rule, J = Q = K"].containers}
    assert list(bars) == ["Base", "MaxOOD", "End", "RL"]
    own = frame[frame["neighbour"].isin(["training rule", "equal rule"]) & (frame["since"] == "")]
    for label, landmark in (("MaxOOD", "maxood"), ("End", "end")):
        rows = own[(own["landmark"] == landmark) & (own["seed"] == "all")].sort_values("distance")
        assert list(bars[label].lines[0].get_ydata()) == pytest.approx(list(rows["accuracy"]))
        ends = np.array([segment[:, 1] for segment in bars[label].lines[2][0].get_segments()])
        assert ends == pytest.approx(rows[["low", "high"]].to_numpy())


def test_neighbours_of_several_models_are_told_apart():
    frame = near_tables.neighbours()
    two = pd.concat([frame, frame.assign(track="wide")], ignore_index=True)
    firsts = [ax.get_title(loc="left") for ax in FIGURES["fig_neighbours"].draw(two, STYLE).axes]
    assert firsts[::6] == ["tiny \N{MIDDLE DOT} cards", "wide \N{MIDDLE DOT} cards"]
    asked = pd.concat([frame, frame.assign(protocol="nearer")], ignore_index=True)
    (*_, last) = FIGURES["fig_neighbours"].draw(asked, STYLE).axes[6:7]
    assert last.get_title(loc="left").split(" \N{MIDDLE DOT} ") == ["tiny", "nearer", "cards"]


def test_a_kind_without_neighbours_is_named_and_base_can_be_missing():
    frame = near_tables.neighbours()
    frame = frame[(frame["neighbour"] != "target") & (frame["landmark"] != "base")]
    figure = FIGURES["fig_neighbours"].draw(frame, STYLE)
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()][:2] == [
        "cards", "card exchanged"
    ]  # fmt: skip
    assert "none of kind target" in " ".join(figure.legends[0].get_title().get_text().split())
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["MaxOOD", "End", "RL"]


def test_stopping_rules_are_ranked_and_what_they_need_is_seen():
    frame = stopping()
    (ax,) = FIGURES["fig_stopping"].draw(frame.sample(frac=1, random_state=0), STYLE).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == len(frame)
    assert labels[frame.index[frame["signal"] == "last checkpoint"][0]] == "last checkpoint"
    faces = {bars.get_label(): bars.lines[0].get_markerfacecolor() for bars in ax.containers}
    assert faces["needs OOD labels of other seeds"] == "white"
    assert len(faces) == len({str(face) for face in faces.values()}) == 3


OTHER_LOOKS = (
    {"palette": "Greys"},
    {"palette": "viridis", "dpi": 80},
    {"context": "talk", "width_inches": 11},
)
LOOKED_AT = [
    (name, look) if (i + j) % len(OTHER_LOOKS) == 0 else later(name, look)
    for i, name in enumerate(FIGURES)
    for j, look in enumerate(OTHER_LOOKS)
]  # each figure in one of them, in the long target in all


@pytest.mark.parametrize(("name", "look_of"), LOOKED_AT)
def test_figures_of_two_models_in_other_looks(name, look_of, shown):
    frame = TABLES[FIGURES[name].table]()
    two = pd.concat([frame, frame.assign(track="tiny-wide")], ignore_index=True)
    style = FigureStyle(**look_of)
    figure = shown(name, two, style)
    assert_legends_fit(figure)
    assert figure.get_figwidth() == style.width_inches
    if style.palette == "Greys":
        drawn = figure.findobj(lambda part: hasattr(part, "get_color"))
        colours = [mpl.colors.to_rgb(part.get_color()) for part in drawn]
        assert all(max(colour) - min(colour) < 1e-9 for colour in colours)


def test_every_figure_has_a_caption():
    folder = Path(__file__).parents[2] / "workflow" / "report"
    for entry in FIGURES.values():
        words = (folder / entry.caption).read_text().split()
        assert "https://arxiv.org/abs/2509.12235" in words
        assert len(words) > 40
        assert ("gate:" in words) == bool(entry.gate)
        assert ("docs/statistics.md" in " ".join(words)) == ("interval" in _note(entry))


def _note(entry) -> str:
    """What the figure says of its bands and dots."""
    figure = entry.draw(TABLES[entry.table](), STYLE)
    return " ".join(figure.legends[0].get_title().get_text().split())


@pytest.mark.parametrize("name", ["fig13", "fig14", "fig_delta"])
def test_embeddings_and_fewer_controls_can_be_drawn(name, shown):
    frame = TABLES[FIGURES[name].table]()
    frame = frame[frame["control"].isin(["", "noise"])]
    role = "k" if name == "fig14" else "q"
    outside = frame[frame["role"] == role].assign(role="embeddings", layer=-1)
    figure = shown(name, pd.concat([outside, frame[frame["role"] == role]]))
    texts = " ".join(t.get_text() for t in figure.findobj(lambda x: hasattr(x, "get_text")))
    assert "noise" in texts
    assert "bf16" not in texts
    if name == "fig_delta":
        assert "embeddings, head" in texts
