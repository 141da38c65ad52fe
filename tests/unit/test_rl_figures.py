"""Figures of RL show what their tables hold, and say what they leave out."""

import numpy as np
import pandas as pd
import pytest
import rl_tables

from healscope.config import FigureStyle
from healscope.figures.catalogue import FIGURES

STYLE = FigureStyle()


def draw(name, frame):
    return FIGURES[name].draw(frame, STYLE)


def note(figure) -> str:
    """What stands above and below the panels."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_fig11_is_of_the_main_recipe_and_marks_the_base():
    frame = rl_tables.rl_training(iterations=19)  # too short to be smoothed
    figure = draw("fig11", frame)
    reward, success, _ = figure.axes
    assert labels(figure) == [
        "from the base model", *(f"from step {s}" for s in rl_tables.STARTS[1:])
    ]  # fmt: skip
    assert "cross: a run failed" in note(figure)
    lines = {line.get_label(): line for line in success.lines}
    base = frame[(frame["run"] == "ppo-from-0")].groupby("iteration")["correct_share"].mean()
    np.testing.assert_allclose(lines["from the base model"].get_ydata(), base)
    assert "smoothed" not in note(figure)
    assert "smoothed over 3 iterations" in note(draw("fig11", rl_tables.rl_training()))
    failed = [line for line in reward.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in failed] == [[19 // 3]]


def titles(figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes[::2]]


def test_fig12_picks_what_may_be_hacked():
    figure = draw("fig12", rl_tables.rl_training())
    assert titles(figure) == ["ppo from 0", "ppo from 59", "format_only from 59",
                              "ppo_canonical from 59"]  # fmt: skip
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == [
        "verdict", "verdict", "format\n+ 0.5 prefix", "canonical",
    ]  # fmt: skip
    shaded = [len(ax.patches) for ax in figure.axes]
    assert shaded == [0, 0, 0, 0, 1, 1, 0, 0]
    (span,) = figure.axes[4].patches
    assert span.get_x() == 25.5
    assert span.get_x() + span.get_width() == 60.5
    # what is counted alike has one range
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim() != figure.axes[4].get_ylim()
    assert len({ax.get_ylim() for ax in figure.axes[1::2]}) == 1


def test_fig12_marks_each_stretch_of_alarm():
    frame = rl_tables.rl_training()
    rings = (frame["run"] == "ppo-from-59") & (frame["seed"] == "1")
    rings &= frame["iteration"].isin([22, 23, 40])
    figure = draw("fig12", frame.assign(hacking_alarm=rings))
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[2].patches]
    assert spans == [(21.5, 23.5), (39.5, 40.5)]


def test_fig12_says_what_it_had_no_room_for():
    frame = rl_tables.rl_training()
    assert "no room" not in note(draw("fig12", frame))
    every = frame.assign(hacking_alarm=frame["kind"] == "rl")
    figure = draw("fig12", every)
    shown = titles(figure)
    assert len(shown) == 4
    assert shown[:2] == ["ppo from 0", "ppo from 59"]
    runs = {f"{recipe} from {start}" for recipe, start in rl_tables.branches()}
    controls = {f"{name} from 59" for name in rl_tables.KINDS}
    missing = len(runs - controls) - 4
    assert f"and {missing - 3} more" in note(figure)


def test_fig_window_has_a_mark_for_every_run_that_ended_well():
    frame = rl_tables.window()
    figure = draw("fig_window", frame)
    known = frame[(frame["seed"] != "all") & frame["healing"].notna()]
    positive = figure.axes[0]
    marks = [line for line in positive.lines if line.get_label().startswith("from step")]
    x, y = (np.concatenate(part) for part in zip(*(m.get_data() for m in marks), strict=True))
    drawn = np.isfinite(y)
    assert sorted(zip(x[drawn], y[drawn], strict=True)) == sorted(
        zip(known["positive_share"], known["healing"], strict=True)
    )
    (band,) = positive.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((0.4, 0.4))
    assert "not drawn: 1" in note(figure)
    assert positive.get_title(loc="left").startswith("positive rewards\nρ = +0.")


def test_fig_window_leaves_out_what_was_not_measured():
    frame = rl_tables.window().assign(entropy_nats=np.nan)
    shown = [ax.get_title(loc="left") for ax in draw("fig_window", frame).axes if ax.get_visible()]
    assert len(shown) == 3
    assert not any(name.startswith("entropy of the policy") for name in shown)
    nothing = frame.assign(
        positive_share=np.nan, advantage_entropy_nats=np.nan, kl_from_base_nats=np.nan
    )
    (title,) = [
        ax.get_title(loc="left") for ax in draw("fig_window", nothing).axes if ax.get_visible()
    ]
    assert "nothing varies" in title


def rows_of(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_fig_recipes_sorts_and_never_drops_what_failed():
    frame = rl_tables.recipes()
    figure = draw("fig_recipes", frame)
    (ax,) = figure.axes
    names = rows_of(ax)
    assert len(names) == len(rl_tables.OTHERS) + 1
    assert names[0] == "grpo (1 of 3 failed)"
    assert names[-2:] == ["format_only †", "diverging"]
    whole = frame[(frame["seed"] == "all") & (frame["start"] == 59)].set_index("recipe")["healing"]
    order = [name.split()[0] for name in names]
    assert list(whole[order[:-1]]) == sorted(whole.dropna(), reverse=True)
    (word,) = [text for text in ax.texts if text.get_text() == "failed"]
    assert word.xy == (0, names.index("diverging"))
    colours = {bars.lines[0].get_color() for bars in ax.containers}
    assert len(colours) == 2  # RL and controls
    assert set(labels(figure)) == {"RL, OOD accuracy", "control, OOD accuracy", "ID accuracy"}


def test_fig_recipes_has_a_block_for_each_start_with_several_recipes():
    frame = rl_tables.recipes()
    early = frame[frame["start"] == 59].assign(start=0)
    figure = draw("fig_recipes", pd.concat([frame[frame["start"] != 0], early]))
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "tiny · from base model", "tiny · from SFT step 59",
    ]  # fmt: skip
    alone = draw("fig_recipes", frame[frame["main"]])
    assert len(alone.axes) == 1
    assert set(map(str, rl_tables.STARTS)) == {n.split()[2] for n in rows_of(alone.axes[0])}


def test_fig_recipes_of_failures_alone():
    frame = rl_tables.recipes()
    lost = frame[frame["recipe"] == "diverging"]
    both = pd.concat([lost, lost.assign(recipe="wild")])
    (ax,) = draw("fig_recipes", both).axes
    assert [text.get_text() for text in ax.texts] == ["failed", "failed"]


@pytest.mark.parametrize("name", ["fig11", "fig12", "fig_window", "fig_recipes"])
def test_a_study_that_learns_nothing_can_be_drawn(name):
    """One seed, runs of one iteration, every number the same."""
    entry = FIGURES[name]
    made = {"rl-training": lambda: rl_tables.rl_training(iterations=3)}
    frame = made.get(entry.table, getattr(rl_tables, entry.table.replace("-", "_")))()
    frame = frame[frame["seed"].isin(["all", "0"])]
    numbers = frame.select_dtypes("float").columns
    frame = frame.assign(**dict.fromkeys(numbers, 0.0))
    assert draw(name, frame).texts
    frame = frame.assign(**dict.fromkeys(numbers, np.nan))
    assert draw(name, frame).texts
