"""Every figure from a small synthetic study, in which OOD accuracy peaks early and then falls."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from healscope.config import FigureStyle
from healscope.errors import HealscopeError
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
        frame = pd.DataFrame(rows).assign(model="tiny", seed=seed)
        frame[value] += shift
        frame["low"], frame["high"] = frame[value] - width, frame[value] + width
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def landmarks() -> pd.DataFrame:
    checkpoints = {"maxood": "sft-21", "end": "sft-400", "rl": "ppo-from-400"}
    heights = {"id": (0.31, 0.50, 0.55), "ood": (0.33, 0.05, 0.19)}
    return with_intervals(
        [
            {"landmark": mark, "checkpoint": name, "rule": rule, "n": 640, "accuracy": height}
            for rule in SFT
            for (mark, name), height in zip(checkpoints.items(), heights[rule], strict=True)
        ],
        "accuracy",
    )


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
                    "model": "tiny",
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


def reversion(stage: str, kinds: tuple[str, ...]) -> pd.DataFrame:
    ends = {"sft": {"id": (0.50, 0.31), "ood": (0.05, 0.33)},
            "rl": {"id": (0.55, 0.50), "ood": (0.19, 0.05)}}[stage]  # fmt: skip
    amounts = {"layers": (1, 2), "rank": (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)}
    rows = []
    for rule, (target, parent) in ends.items():
        rows.append({"rule": rule, "kind": "none", "axis": "", "amount": 0.0, "accuracy": target})
        rows.append({"rule": rule, "kind": "parent", "axis": "", "amount": 0.0, "accuracy": parent})
        for kind in kinds:
            strength = {"values": 0.03, "directions": 0.9, "swap": 1.0}[kind]
            for axis, steps in amounts.items():
                for amount in steps:
                    share = strength * (amount / max(steps)) ** 0.5
                    rows.append(
                        {"rule": rule, "kind": kind, "axis": axis, "amount": amount,
                         "accuracy": target + share * (parent - target)}
                    )  # fmt: skip
    return with_intervals(rows, "accuracy", 0.035).assign(stage=stage, n=640)


def singular_values() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    sigma = 4 * np.exp(-np.arange(128) / 40)
    frames = [
        pd.DataFrame(
            {"model": "tiny", "seed": seed, "pair": pair, "layer": layer, "role": role,
             "index": np.arange(128), "sigma_a": sigma,
             "sigma_b": sigma + size * (rng.normal(0.3, 1, 128) * np.exp(-np.arange(128) / 60))}
        )
        for seed in SEEDS
        for pair, size in (("maxood--end", 0.03), ("end--rl", 0.008))
        for layer in (0, 1)
        for role in ("q", "k", "v", "o")
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def principal_angles() -> pd.DataFrame:
    sizes = {"base--end": 34.0, "base--rl": 36.0, "maxood--end": 25.0, "end--rl": 9.0}
    sides, fractions = ("left", "right"), (0.0625, 0.125, 0.25, 0.5, 0.75)
    frames = []
    for seed, pair, side, fraction in product(SEEDS, sizes, sides, fractions):
        index = np.arange(round(128 * fraction))
        degrees = sizes[pair] * (0.3 + 1.6 * (index + 1) / len(index)) + 2 * int(seed)
        place = {"model": "tiny", "seed": seed, "pair": pair, "layer": 0, "role": "k"}
        angles = {"index": index, "degrees": np.minimum(90, degrees)}
        frames.append(pd.DataFrame({**place, "side": side, "fraction": fraction, **angles}))
    return pd.concat(frames, ignore_index=True)


def hidden_states() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    centres = {"maxood": (-4, 1), "end": (3, 0), "rl": (4, 2)}
    frames = [
        pd.DataFrame(
            {"model": "tiny", "seed": seed, "landmark": name, "rule": rule,
             "pc1": rng.normal(x, 2, 150), "pc2": rng.normal(y, 1.5, 150),
             "share1": 0.41, "share2": 0.17}
        )
        for seed in SEEDS
        for rule in SFT
        for name, (x, y) in centres.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


TABLES = {
    "landmarks": landmarks,
    "sft-training": sft_training,
    "curves": curves,
    "rl-window": rl_window,
    "reversion-sft-values": lambda: reversion("sft", ("values",)),
    "reversion-rl-values": lambda: reversion("rl", ("values",)),
    "reversion-sft-directions": lambda: reversion("sft", ("directions", "swap")),
    "reversion-rl-directions": lambda: reversion("rl", ("directions", "swap")),
    "singular-values": singular_values,
    "principal-angles": principal_angles,
    "hidden-states": hidden_states,
}


def drawn(name: str, frame: pd.DataFrame, folder: Path) -> tuple[bytes, bytes]:
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    render(name, frame, STYLE, pdf, png)
    return pdf.read_bytes(), png.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_and_byte_stable(name, tmp_path):
    frame = TABLES[FIGURES[name].table]()
    untouched = frame.copy()
    pdf, png = drawn(name, frame, tmp_path)
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 8_000
    assert b"/CreationDate" not in pdf
    assert b"/Type3" not in pdf  # fonts are embedded as TrueType
    assert png.startswith(b"\x89PNG")
    assert len(png) > 15_000
    pd.testing.assert_frame_equal(frame, untouched)
    assert (pdf, png) == drawn(name, frame, tmp_path)


def test_bytes_do_not_depend_on_the_process(tmp_path):
    """String hashes differ between processes; the files must not."""
    files = [str(tmp_path / name) for name in ("curves.parquet", "a.pdf", "a.png")]
    curves().to_parquet(files[0])
    code = (
        "import sys; import pandas as pd; from healscope.config import FigureStyle;"
        "from healscope.figures.catalogue import render;"
        "render('fig3a', pd.read_parquet(sys.argv[1]), FigureStyle(), *sys.argv[2:]);"
        "assert 'torch' not in sys.modules"
    )
    seen = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
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
def test_a_missing_column_is_named(name, tmp_path):
    entry = FIGURES[name]
    for column in entry.columns:
        with pytest.raises(HealscopeError, match=rf"'{entry.table}'.* column {column}$"):
            drawn(name, TABLES[entry.table]().drop(columns=column), tmp_path)


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_named(name, tmp_path):
    entry = FIGURES[name]
    with pytest.raises(HealscopeError, match=rf"'{entry.table}'.*no rows"):
        drawn(name, TABLES[entry.table]().head(0), tmp_path)


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
    assert "step: 21 (33.0%)" in ax.get_title(loc="right")


def test_every_figure_has_a_caption():
    folder = Path(__file__).parents[2] / "workflow" / "report"
    for entry in FIGURES.values():
        words = (folder / entry.caption).read_text().split()
        assert "https://arxiv.org/abs/2509.12235" in words
        assert len(words) > 40
