"""Published values: the files hold what they may, and their arithmetic is right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from healscope import published
from healscope.errors import HealscopeError

ROOT = Path(__file__).parents[2]
HEADER = ",".join(published.COLUMNS)
GOOD = "fig1,llama-3.2-11b,end,1100,ood,accuracy,0.0684,234,r:f.pdf,exact"


@pytest.fixture(scope="module")
def values():
    return published.read(ROOT / "config/published")


def only(frame, **where):
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_figures_and_thinned_curves(values):
    figures = {"fig1", "fig2a", "fig2b", "fig3a", "fig8", "fig9", "text"}
    assert set(values["figure"]) == figures
    series = values.groupby(["figure", "model", "stage", "split", "metric", "trust"]).size()
    assert series.max() <= 80


def test_unusable_quantities_are_absent(values):
    assert set(values["metric"]) <= {
        "accuracy", "loss_nats", "train_loss_nats", "format_error_share",
    }  # fmt: skip
    sources = "|".join(values["source"].unique())
    for name in ("singular", "svd", "tsne", "hidden", "delta_stats", "chordal", "rl-id_ood", "625"):
        assert name not in sources


def test_known_values(values):
    peak = only(values, figure="fig3a", stage="sft", x=140)
    assert (peak["value"], peak["n"], peak["trust"]) == (0.1752, 234, "exact")
    lowest = values[(values["figure"] == "fig8") & (values["trust"] == "exact")]
    assert lowest.loc[lowest["value"].idxmin(), "x"] == 30
    test = only(values, figure="fig2a", model="qwen-2.5-7b", metric="loss_nats", x=800)
    assert test["value"] == 0.0989
    assert only(values, figure="fig2b", model="llama-3.2-11b", x=30)["value"] == 0.4696
    assert only(values, figure="fig9", model="qwen-2.5-7b", stage="rl", split="id")["n"] == 48


def test_a_cell_published_with_two_values_is_marked(values):
    cells = values[(values["metric"] == "accuracy") & values["x"].notna()]
    found = 0
    for _, cell in cells.groupby(["model", "stage", "x", "split"]):
        if cell["value"].nunique() > 1:
            assert set(cell["trust"]) == {"off_grid"}
            found += 1
    assert found == 1


def test_counts_and_wilson_limits(values):
    counted = published.counts(values)
    peak = only(counted, figure="fig1", model="llama-3.2-11b", stage="maxood", split="ood")
    assert peak["count"] == 41
    assert np.allclose([peak["low"], peak["high"]], [0.132, 0.229], atol=5e-4)
    off = counted[(counted["figure"] == "fig1") & (counted["trust"] == "off_grid")]
    assert off["count"].isna().all()
    assert np.allclose(off.sort_values("value")[["low", "high"]].iloc[0], [0.043, 0.108], atol=5e-4)
    assert counted[counted["metric"] != "accuracy"][["count", "low", "high"]].isna().all(axis=None)


def test_difference_follows_newcombe():
    """His first worked example: 56 of 70 against 48 of 80 gives 0.0524 to 0.3339."""
    low, high, p = published.difference(48, 80, 56, 70)
    assert np.allclose([low, high], [0.0524, 0.3339], atol=5e-5)
    back = published.difference(56, 70, 48, 80)
    assert np.allclose(back, [-high, -low, p])
    assert published.difference(0, 234, 0, 234)[2] == 1


def test_changes_of_stages(values):
    changes = published.changes(values)
    stage = changes[(changes["figure"] == "fig1") & (changes["split"] == "ood")]
    fall = stage[stage["contrast"] == "maxood→end"]
    llama = fall[fall["model"] == "llama-3.2-11b"]
    assert sorted(llama["after"]) == [0.0692, 0.0897]
    worst = only(llama, after=0.0692)
    assert worst["p"] < 0.001
    assert np.isclose(worst["change"], -0.106)
    assert worst["low"] < worst["change"] < worst["high"] < 0
    assert llama["establishes"].all()
    qwen = only(fall, model="qwen-2.5-7b")
    assert 0.45 < qwen["p"] < 0.6
    assert not qwen["establishes"]


def test_changes_by_step(values):
    changes = published.changes(values)
    steps = changes[changes["figure"] == "fig3a"].set_index("x")
    assert len(steps) == 18
    known = {90: 0.0005, 140: 0.006, 900: 0.008, 1000: 0.049, 1100: 0.002, 1200: 1.0}
    for step, p in known.items():
        assert np.isclose(steps.loc[step, "p"], p, rtol=0.15)
    better = steps[steps["establishes"] & (steps["change"] > 0)]
    worse = steps[steps["establishes"] & (steps["change"] < 0)]
    assert list(better.index) == [900, 1000, 1100]
    assert list(worse.index) == [90, 140, 200, 300]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("fig1", "fig2", "figure is 'fig2', allowed: fig1"),
        ("llama-3.2-11b", "llama", "allowed: llama-3.2-11b, qwen-2.5-7b"),
        ("end", "End", "allowed: maxood, end, rl"),
        ("ood", "both", "allowed: id, ood, empty"),
        ("accuracy", "mmd", "allowed: accuracy, loss_nats"),
        ("1100", "-5", "x is '-5', allowed: a whole number from 0"),
        ("234", "0", "n is '0', allowed: a whole number from 1"),
        ("234", "23.4", "n is '23.4'"),
        ("0.0684", "6.84", "value is '6.84', allowed for accuracy: 0 to 1"),
        ("0.0684", "", "value is ''"),
        ("0.0684", "nan", "value is 'nan'"),
        ("0.0684", "0.0692", "no multiple of 1/234"),
        ("r:f.pdf", "", "source is empty"),
        (",exact", ",sure", "allowed: exact, off_grid, digitised"),
        (",exact", "", "trust is"),
    ],
)
def test_a_bad_line_is_named_with_what_is_allowed(tmp_path, old, new, says):
    file = tmp_path / "fig1.csv"
    second = GOOD.replace("1100", "1200")
    file.write_text(f"{HEADER}\n{second}\n{GOOD.replace(old, new, 1)}\n")
    with pytest.raises(HealscopeError) as error:
        published.read(tmp_path)
    assert f"{file}, line 3" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEADER}\n{GOOD}\n{GOOD}\n", "line 3: repeats figure, model"),
        (f"figure,model\n{GOOD}\n", "line 1: columns must be figure,model,stage"),
        (f"{HEADER}\n{GOOD}\n{GOOD},more\n", "no readable CSV"),
        ("", "no readable CSV"),
        (b"\xff\xfe\xff", "no readable CSV"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, says):
    file = tmp_path / "fig1.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(HealscopeError, match=says) as error:
        published.read(tmp_path)
    assert str(file) in str(error.value)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(HealscopeError, match="no CSV files"):
        published.read(tmp_path)


def test_types(values):
    assert values["x"].dtype == values["n"].dtype == pd.Int64Dtype()
    assert values["value"].dtype == float
    assert values.index.is_unique


def test_the_page_is_in_step(values):
    page = (ROOT / "docs/published-values.md").read_text()
    start = "<!-- generated: python -m healscope.published -->"
    generated = page.split(start)[1].split("<!-- end -->")[0]
    assert generated.strip() == published.page(values)
