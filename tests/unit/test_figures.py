"""Every figure from a small synthetic study, in which OOD accuracy peaks early and then falls."""

import os
import re
import subprocess
import sys
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_doctree
from figure_tables import MATCHED, PLACES, STARTS, STEPS, STRENGTHS, gate, table, two_models
from targets import first

from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.errors import HealscopeError
from healscope.figures import layout, looks, messages
from healscope.figures.catalogue import FIGURES, render

STYLE = FigureStyle()
PUBLISHED = [str(Path(__file__).parents[2] / "config" / "published" / "fig1.csv")]
LLAMA = FigureStyle(published="llama-3.2-11b")
GATED = [name for name, entry in FIGURES.items() if entry.gate]
OVERLAID = [name for name, entry in FIGURES.items() if entry.overlay]


def test_no_figure_stands_in_a_module_that_the_catalogue_passes_over():
    for module in Path(looks.__file__).parent.glob("*.py"):
        if not module.name.startswith("fig") and module.name != "catalogue.py":
            assert "\nFIGURES" not in module.read_text(), f"call {module.name} fig…"


@lru_cache
def drawn(name: str):
    """A figure, drawn once for all tests that look at it."""
    return FIGURES[name].draw(table(FIGURES[name].table), STYLE)


def draw(name: str, frame: pd.DataFrame):
    return FIGURES[name].draw(frame, STYLE)


def rendered(name: str, folder: Path, style: FigureStyle = STYLE, **more) -> tuple[bytes, bytes]:
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    render(name, table(FIGURES[name].table), style, pdf, png, **more)
    return pdf.read_bytes(), png.read_bytes()


@pytest.fixture
def saved(monkeypatch) -> list:
    """The figures that `render` would save while a test runs."""
    kept = []
    monkeypatch.setattr(looks, "save", lambda figure, *_: kept.append(figure))
    return kept


def words(figure) -> str:
    """What stands above and below the panels."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def labels(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def assert_readable(figure, across: float = 1):
    """At most 4 x 4 panels and 6 entries; nothing overlaps, by two pixels or more, or is cut."""
    visible = [ax for ax in figure.axes if ax.get_visible()]
    grid = visible[0].get_gridspec()
    assert grid.nrows <= layout.MOST
    assert grid.ncols <= layout.MOST
    assert len(labels(figure)) <= layout.ENTRIES
    figure.draw_without_rendering()
    boxes = {f"panel {i}": ax.get_tightbbox() for i, ax in enumerate(visible)}
    boxes |= {text.get_text(): text.get_window_extent() for text in figure.texts}
    boxes |= {f"legend {i}": key.get_window_extent() for i, key in enumerate(figure.legends)}
    for name, box in boxes.items():
        assert box.x0 >= -across, name
        assert box.x1 <= figure.bbox.width + across, name
        assert box.y0 >= -1, name
        assert box.y1 <= figure.bbox.height + 1, name
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        beside = min(a.x1, b.x1) - max(a.x0, b.x0) < 1
        assert beside or min(a.y1, b.y1) - max(a.y0, b.y0) < 2, f"{one} and {other} overlap"


def grey(handle) -> tuple:
    """How something in a legend looks without its colour."""
    if hasattr(handle, "lines"):  # error bars
        handle = handle.lines[0]
    if hasattr(handle, "patches"):  # bars
        handle = handle.patches[0]
    if hasattr(handle, "get_marker"):
        face = {"white": "open", "0.75": "light"}.get(str(handle.get_markerfacecolor()), "full")
        line = str(getattr(handle, "_dash_pattern", "")) if handle.get_linestyle() != "None" else ""
        sizes = round(handle.get_linewidth(), 1), round(handle.get_markersize())
        return handle.get_marker(), face, line, *sizes
    return type(handle).__name__, getattr(handle, "get_hatch", str)()


@pytest.mark.parametrize("name", first(set(FIGURES) - {"fig5", "fig7", "fig14"}, FIGURES))
def test_every_figure_is_readable_and_its_title_says_what_was_found(name):
    untouched = table(FIGURES[name].table).copy()
    figure = drawn(name)
    pd.testing.assert_frame_equal(table(FIGURES[name].table), untouched)
    message = figure.texts[0].get_text()
    assert " ".join(message.split()) == " ".join(FIGURES[name].message(untouched).split())
    assert any(digit in message for digit in "0123456789")
    assert len(message) < 260
    assert_readable(figure)
    handles = {}
    for ax in figure.axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    looks_of = {label: grey(handle) for label, handle in handles.items()}
    assert len(set(looks_of.values())) == len(looks_of), f"told apart by colour alone: {looks_of}"


@pytest.mark.parametrize("name", first(("fig1", "fig4", "fig15", "fig_signals"), FIGURES))
def test_two_models_fit_one_figure(name):
    figure = draw(name, two_models(FIGURES[name].table))
    assert_readable(figure)
    everything = words(figure) + " ".join(
        text for ax in figure.axes for text in (ax.get_title("left"), ax.get_ylabel())
    )
    assert "tiny" in everything
    assert "wide" in everything


def test_models_without_room_are_left_to_the_table():
    frames = [table("rl-window").assign(track=f"model-{i}") for i in range(6)]
    figure = draw("fig10", pd.concat(frames, ignore_index=True))
    assert_readable(figure)
    assert "2 more in the table" in words(figure)
    assert words(figure).count("OOD rises by RL") == 4  # a line for each model


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


def test_equal_input_gives_equal_bytes(tmp_path):
    """Also in a session with settings of its own, which stay as they are."""
    pdf, png = rendered("fig10", tmp_path)
    assert pdf.startswith(b"%PDF")
    assert b"/CreationDate" not in pdf
    assert b"/Type3" not in pdf  # fonts are embedded as TrueType
    assert png.startswith(b"\x89PNG")
    with mpl.rc_context(OF_A_READER):
        before = dict(mpl.rcParams)
        assert (pdf, png) == rendered("fig10", tmp_path)
        assert dict(mpl.rcParams) == before


@pytest.mark.long
def test_bytes_do_not_depend_on_the_process(tmp_path):
    """String hashes and a matplotlibrc differ between processes; the files must not."""
    files = [str(tmp_path / name) for name in ("curves.parquet", "a.pdf", "a.png")]
    table("curves").to_parquet(files[0])
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


def test_the_registry_alone_imports_nothing_that_draws():
    """The workflow reads it at the start of every job."""
    code = (
        "import sys; import healscope.figures.catalogue;"
        "assert not {'matplotlib', 'seaborn', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FIGURES)
def test_a_wrong_table_is_refused(name):
    entry, frame = FIGURES[name], table(FIGURES[name].table)
    entry.check(frame)
    with pytest.raises(HealscopeError, match=rf"'{entry.table}'.* no column track$"):
        entry.check(frame.drop(columns="track"))
    with pytest.raises(HealscopeError, match=rf"'{entry.table}'.*no rows"):
        entry.check(frame.head(0))
    single = frame[frame["seed"] != "all"]
    if any(column.endswith("low") for column in frame) and len(single):
        with pytest.raises(HealscopeError, match=rf"'{entry.table}'.*seed 'all'"):
            entry.check(single)


@pytest.mark.parametrize("name", FIGURES)
def test_captions_are_valid_and_name_their_source(name):
    entry = FIGURES[name]
    publish_doctree(entry.caption, settings_overrides={"halt_level": 2, "report_level": 2})
    assert re.search(r"https://arxiv.org/abs/\d{4}\.\d{5}", entry.caption)
    assert len(entry.caption.split()) > 40
    assert ("phenomenon gate" in entry.caption) == bool(entry.gate)


@pytest.mark.parametrize("palette", ["viridis", "Greys"])
def test_every_palette_keeps_the_series_apart(palette):
    style = FigureStyle(palette=palette)
    colours = {key: looks.look(style, key)["color"] for key in ("id", "ood", "sft", "rl", "maxood")}
    assert len(set(colours.values())) == len(colours)


@pytest.mark.parametrize("other", [{"palette": "Greys"}, {"context": "talk", "width_inches": 11}])
def test_figures_in_other_looks(other):
    figure = FIGURES["fig_protocols"].draw(table("protocols"), FigureStyle(**other))
    assert_readable(figure)


def test_a_change_is_only_said_where_its_interval_leaves_out_zero():
    assert messages.effect("OOD", (-0.07, -0.11, -0.03), "after step 9") == (
        "OOD falls by 7.0 points after step 9 [3.0, 11]"
    )
    assert messages.effect("OOD", (0.12, 0.07, 0.17)) == "OOD rises by 12 points [7.0, 17]"
    assert messages.effect("OOD", (0.01, -0.03, 0.05), "after step 9") == (
        "no change of OOD established after step 9: +1.0 points [−3.0, +5.0]"
    )
    assert messages.effect("OOD", (np.nan, np.nan, np.nan)) == "OOD was not measured"


def test_what_was_picked_of_many_has_a_wider_interval():
    one, many = (messages.widened((-0.05, -0.09, -0.01), n) for n in (1, 8))
    assert one == pytest.approx((-0.05, -0.09, -0.01))
    assert many[2] > 0
    said = messages.counted("OOD", "start", {f"step {s}": (-0.05, -0.09, -0.01) for s in range(8)})
    assert said == "no change of OOD established for any of 8 starts: −5.0 to −5.0 points"
    alone = messages.counted("OOD", "start", {"step 9": (-0.05, -0.09, -0.01)}, "by RL")
    assert alone == "OOD falls by RL for 1 of 1 start, most for step 9: 5.0 points [1.0, 9.0]"


def test_the_fall_after_the_best_step_is_that_of_the_curve():
    assert drawn("fig3a").texts[0].get_text().startswith("OOD falls by 28 points after step 21 [")
    rising = table("curves")
    rising = rising.assign(accuracy=rising["step"] / 1000, low=0.0, high=1.0)
    message = FIGURES["fig3a"].message(rising)
    assert message.startswith("OOD is best at the last step, 400: 40% [0.0, 100]")


def test_fig3a_shows_the_data_and_nothing_else():
    frame = table("curves")
    (ax,) = drawn("fig3a").axes
    shown = frame[(frame["rule"] == "ood") & (frame["split"] == "held_out")]
    whole = shown[shown["seed"] == "all"].set_index("stage")

    sft = {line.get_label(): line for line in ax.lines}["SFT"]
    assert list(sft.get_xdata()) == list(STEPS)
    assert list(sft.get_ydata()) == list(whole.loc["sft", "accuracy"])

    (after,) = ax.containers
    assert after.get_label() == "after RL from this step"
    assert list(after.lines[0].get_xdata()) == list(STARTS)
    assert list(after.lines[0].get_ydata()) == list(whole.loc["rl", "accuracy"])
    ends = [segment[:, 1] for segment in after.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, whole.loc["rl", ["low", "high"]])

    thin = [line for line in ax.lines if line.get_linewidth() < 1 and len(line.get_xdata()) > 2]
    assert sorted(len(line.get_xdata()) for line in thin) == [len(STARTS)] * 2 + [len(STEPS)] * 2
    # the accuracy of the best of many steps would flatter it
    assert ax.get_title(loc="right") == "best SFT step on average: 21"


def test_fig3_leaves_a_control_run_of_sft_out():
    frame = table("curves")
    control = frame[frame["stage"] == "sft"].assign(stage="diverse", accuracy=0.9)
    both = pd.concat([frame, control], ignore_index=True)
    with_control, without = draw("fig3a", both).axes[0], drawn("fig3a").axes[0]
    assert len(with_control.lines) == len(without.lines)
    assert with_control.get_ylim() == without.get_ylim()


def test_fig_arms_has_a_row_for_each_control_that_was_asked_for():
    frame = table("arms")
    frame = frame[frame["arm"].isin(["sft", "solutions"])]
    left, right = draw("fig_arms", frame).axes
    assert len(drawn("fig_arms").axes) == 4
    whole = frame[frame["seed"] == "all"].set_index(["arm", "kind", "rule"])["accuracy"]
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        f"{rule.upper()} rule, {what}": list(whole[name, "level", rule])
        for rule in ("id", "ood")
        for what, name in (("SFT", "sft"), ("control", "solutions"))
    }
    gaps = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert gaps["OOD rule, difference"] == list(whole["solutions", "difference", "ood"])


def test_fig_methods_has_a_panel_for_each_arm_and_their_changes_at_the_last_step():
    frame = table("arms")
    *curves, below = drawn("fig_methods").axes
    named = {
        "diverse": "paraphrased prompts", "solutions": "any correct answer",
        "kl": "KL to the base", "kl_strong": "kl_strong", "dft": "DFT",
    }  # fmt: skip
    assert [ax.get_title(loc="left") for ax in curves] == list(named.values())
    whole = frame[frame["seed"] == "all"].set_index(["arm", "kind", "rule"])["accuracy"]
    for ax, arm in zip(curves, named, strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        for label, name in (("plain SFT", "sft"), ("the method", arm)):
            assert list(lines[label].get_xdata()) == list(whole[name, "level", "id"])
            assert list(lines[label].get_ydata()) == list(whole[name, "level", "ood"])
    assert [label.get_text() for label in below.get_yticklabels()] == list(named.values())
    for container, rule in zip(below.containers, ("id", "ood"), strict=True):
        at_400 = [whole[arm, "difference", rule].iloc[-1] for arm in named]
        assert list(container.lines[0].get_xdata()) == at_400


def test_fig1_shows_the_corrected_maxood_and_marks_the_uncorrected():
    _, ood = drawn("fig1").axes
    assert [patch.get_height() for patch in ood.patches] == pytest.approx([0.30, 0.05, 0.19])
    (tick,) = [c for c in ood.collections if c.get_label().startswith("MaxOOD")]
    ((left, right),) = tick.get_segments()
    assert left[1] == right[1] == 0.33
    named = [label.get_text() for label in ood.get_xticklabels()]
    assert named == ["MaxOOD\nstep 9–21", "End\nstep 400", "RL\nfrom 400"]


@pytest.mark.parametrize("name", first(("fig15", "fig_repair"), GATED))
def test_the_gates_answer_stands_below_what_explains_a_phenomenon(name, saved):
    answers = (None, gate(), gate("absent", "absent"))
    for answer in answers:
        render(name, table(FIGURES[name].table), STYLE, "", "", answers=answer)
    without, below, refused = map(words, saved)
    assert "Phenomenon gate" not in without
    forgetting = (
        "present (MaxOOD to sft-400 -28.0 points"
        if FIGURES[name].edits
        else "absent (MaxOOD to End -3.0 points"
    )
    for stage, text in (
        ("sft", f"tiny: OOD forgetting {forgetting}"),
        ("rl", "tiny: OOD recovery undecided (End to RL +2.0 points"),
    ):
        assert (f"Phenomenon gate \N{EM DASH} {text}" in below) == (stage in FIGURES[name].gate)
    verdict = "cannot be read as an explanation of it"
    explained = {"sft"} if FIGURES[name].edits else set()
    assert below.count(verdict) == len({*FIGURES[name].gate} - explained)
    assert refused.count(verdict) == len(FIGURES[name].gate)
    assert_readable(saved[1])


def test_what_explains_a_phenomenon_carries_the_gate():
    assert set(GATED) >= {"fig4", "fig5", "fig6", "fig7", "fig13", "fig14", "fig15", "fig_delta",
                          "fig_repair"}  # fmt: skip


@pytest.mark.parametrize(("context", "width"), [("paper", 3.5), ("talk", 11.0)])
def test_words_fit_figures_of_other_sizes(context, width):
    style = FigureStyle(context=context, width_inches=width)
    frame = table("rl-window")
    figure = FIGURES["fig10"].draw(frame, style, ["Phenomenon gate: some words. " * 8])
    assert_readable(figure)


@pytest.mark.parametrize("name", OVERLAID)
def test_published_values_are_drawn_over_where_a_model_is_named(name, saved):
    frame = table(FIGURES[name].table)
    render(name, frame, STYLE, "", "", published=PUBLISHED)  # the style names no model
    render(name, frame, LLAMA, "", "", published=PUBLISHED)
    plain, over = (" ".join(labels(figure)) for figure in saved)
    assert "published" not in plain
    assert "published: llama-3.2-11b" in over
    assert len(labels(saved[1])) <= layout.ENTRIES
    assert ("another protocol" in words(saved[1])) == (name in ("fig1", "fig3a"))


def test_published_values_are_those_of_the_model_and_not_read_off_a_picture(saved):
    render("fig3a", table("curves"), LLAMA, "", "", published=PUBLISHED)
    (ax,) = saved[-1].axes
    lines = {line.get_label(): line for line in ax.lines}
    x, y = lines["published: llama-3.2-11b, SFT"].get_data()
    assert (len(x), x.min(), x.max()) == (18, 0, 1600)
    assert dict(zip(x, y, strict=True))[140] == 0.1752
    assert ax.get_xlim()[1] > 1600


@pytest.mark.parametrize(("name", "main"), [("fig4", "values"), ("fig6", "directions")])
def test_controls_and_distances_stand_beside_the_edit(name, main):
    frame = table("reversion-sft")
    panels = drawn(name).axes
    assert len(panels) == 4 * len(PLACES)  # two rules, two distances
    whole = frame[(frame["seed"] == "all") & (frame["axis"] == "rank")].set_index("name")
    for rule, ax in {"id": panels[0], "ood": panels[2]}.items():
        own = whole[whole["rule"] == rule]
        found = {bars.get_label(): bars.lines[0].get_data() for bars in ax.containers}
        assert set(found) == {f"control: {about.label}" for about in CONTROLS.values()}
        x, y = found["control: as far, at random"]
        assert list(x) == pytest.approx([0.2, 0.7, 1.0], abs=0.03)  # a little apart from others
        at = [f"{main}-rank-{a:g}-as-noise" for a in (0.2, 0.7, 1.0)]
        assert list(y) == list(own.loc[at, "accuracy"])
    lines = [line.get_ydata() for line in panels[4].lines]
    names = [f"{main}-rank-{a:g}" for a in PLACES["rank"]]
    far = [0.0, *whole.loc[whole["rule"] == "ood"].loc[names, "from_target"]]
    assert any(len(y) == len(far) and np.allclose(y, far) for y in lines)
    # every kind of the figure and both ends are named at the end of a row
    named = {text.get_text() for text in panels[1].texts}
    kinds = {kind for kind, about in KINDS.items() if about.figure == main}
    assert named == {"End", "MaxOOD", *kinds}


def test_every_kind_and_control_has_a_look_of_its_own():
    assert set(STRENGTHS) == set(KINDS)
    assert set(MATCHED) == set(CONTROLS)
    for figure in ("values", "directions", "update"):
        group = [kind for kind in KINDS.values() if kind.figure == figure]
        assert len({(kind.marker, kind.face) for kind in group}) == len(group)
    assert len({control.marker for control in CONTROLS.values()}) == len(CONTROLS)


def test_fig6_is_drawn_without_controls_and_along_other_axes():
    frame = table("reversion-sft")
    frame = frame[(frame["control"] == "") & (frame["axis"] != "layers")].copy()
    frame.loc[frame["axis"] == "rank", "axis"] = "an axis of its own"
    panels = draw("fig6", frame).axes
    assert not panels[0].containers
    assert panels[-1].get_xlabel() == "an axis of its own"


def test_fig_repair_shows_every_edit_the_front_and_rl():
    frame = table("repair")
    ax, *of_keepers = drawn("fig_repair").axes
    shown = {line.get_label(): line for line in ax.lines}
    edits = frame[~frame["kind"].isin(["parent", "rl", "pick"])]
    groups = edits["kind"].map(lambda kind: KINDS[kind].figure)
    plain = edits["control"] == ""
    for label, own in {
        "edit of singular values, directions, matrices": edits[plain & (groups != "update")],
        "edit of the update itself": edits[plain & (groups == "update")],
        "controls": edits[~plain],
    }.items():
        assert sorted(shown[label].get_xdata()) == sorted(own["id_change"])
    assert len(shown["beaten by no edit"].get_xdata()) == frame["front"].sum()
    front = frame[frame["front"]].sort_values("ood_change", ascending=False)["name"][:6]
    numbers = sorted(int(n) for text in ax.texts for n in text.get_text().split(","))
    assert numbers == [1, 2, 3, 4, 5, 6]
    key = ", ".join(f"{i} {name}" for i, name in enumerate(front, 1))
    assert key in words(drawn("fig_repair")).replace("\n", " ")
    for place, (panel, name) in enumerate(zip(of_keepers, ("facts", "notes"), strict=True)):
        assert name in panel.get_xlabel()
        dots = {line.get_label(): line for line in panel.lines}["controls"].get_xdata()
        assert sorted(dots) == sorted(row[place] for row in edits.loc[~plain, "keepers_change"])
    assert words(drawn("fig_repair")).startswith(
        "Cheapest for 50% of the loss (directions-rank-0.2 or swap-rank-0.7): OOD rises by 20 "
        "points [16, 24]; ID falls by 10 points [6.0, 14]"
    )


def test_a_title_names_two_of_many_edits_that_seeds_pick():
    frame = table("repair")
    names = " or ".join(f"swap-rank-0.{i}" for i in range(1, 7))
    frame.loc[frame["kind"] == "pick", "picked"] = names
    said = words(draw("fig_repair", frame))
    assert "of the loss (swap-rank-0.1 or swap-rank-0.2 or 4 others): OOD" in said


def test_errors_of_all_answers_fill_the_panel():
    stack = drawn("fig_errors").axes[0].collections
    assert len({area.get_hatch() for area in stack}) == len(stack) == 4
    assert stack[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1, abs=0.03)


def test_protocols_that_were_not_run_are_left_out():
    frame = table("protocols")
    frame = frame[frame["protocol"] == "exhaustive"].assign(after_none=np.nan)
    lines = len(drawn("fig_protocols").axes[0].lines)
    assert len(draw("fig_protocols", frame).axes[0].lines) == lines - 2


def test_neighbours_are_drawn_from_the_training_rule_outwards():
    frame = table("neighbours")
    shown = {ax.get_title(loc="left"): ax for ax in drawn("fig_neighbours").axes}
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


def test_neighbours_of_several_models_and_protocols_are_told_apart():
    frame = table("neighbours")
    asked = pd.concat([frame, frame.assign(protocol="nearer")], ignore_index=True)
    (*_, last) = draw("fig_neighbours", asked).axes[6:7]
    assert last.get_title(loc="left").split(" \N{MIDDLE DOT} ") == ["tiny", "nearer", "cards"]
    firsts = [ax.get_title("left") for ax in draw("fig_neighbours", two_models("neighbours")).axes]
    assert firsts[::6] == ["tiny \N{MIDDLE DOT} cards", "wide \N{MIDDLE DOT} cards"]


def test_a_kind_without_neighbours_is_named_and_base_can_be_missing():
    frame = table("neighbours")
    frame = frame[(frame["neighbour"] != "target") & (frame["landmark"] != "base")]
    figure = draw("fig_neighbours", frame)
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()][:2] == [
        "cards", "card exchanged"
    ]  # fmt: skip
    assert "none of kind target" in words(figure)
    assert labels(figure) == ["MaxOOD", "End", "RL"]


def test_stopping_rules_are_ranked_and_what_they_need_is_seen():
    frame = table("stopping")
    (ax,) = draw("fig_stopping", frame.sample(frac=1, random_state=0)).axes
    named = [label.get_text() for label in ax.get_yticklabels()]
    assert len(named) == len(frame)
    assert named[frame.index[frame["signal"] == "last checkpoint"][0]] == "last checkpoint"
    faces = {bars.get_label(): bars.lines[0].get_markerfacecolor() for bars in ax.containers}
    assert faces["needs OOD labels of other seeds"] == "white"
    assert len(faces) == len({str(face) for face in faces.values()}) == 3


@pytest.mark.parametrize("name", ["fig13", "fig14", "fig_delta"])
def test_embeddings_and_fewer_controls_can_be_drawn(name):
    frame = table(FIGURES[name].table)
    frame = frame[frame["control"].isin(["", "noise"])]
    role = "k" if name == "fig14" else "q"
    outside = frame[frame["role"] == role].assign(role="embeddings", layer=-1)
    figure = draw(name, pd.concat([outside, frame[frame["role"] == role]]))
    texts = " ".join(t.get_text() for t in figure.findobj(lambda x: hasattr(x, "get_text")))
    assert "noise" in texts
    assert "bf16" not in texts
    if name == "fig_delta":
        assert "embeddings, head" in texts
