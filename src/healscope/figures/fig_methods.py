"""
Held-out accuracy under the OOD rule against that under the ID rule along SFT, one panel for each
method (arms of ``sft.arms``; the same examples in the same order), with plain SFT behind it; with
several models only the lower panels, of many methods the first nine. Up and to the right is
better; each point is a step of the grid, the large one is the last. Below: what each method changes
at that step, on the same problems. Intervals are those of docs/statistics.md; those of the title
hold for all methods at once. Methods are described in docs/rotation-aware.md; most follow from what
section 4 of `arXiv 2509.12235`_ says of rotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import ARM_LABELS, FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each arm with the plain arm behind it, and changes at the last step."""
    from matplotlib.figure import Figure as Canvas

    models, left_out = layout.fitting(frame["track"])
    arms = _arms(frame)
    curves = arms[: _COLUMNS * (layout.MOST - 1)] if len(models) == 1 else []
    rows = -(-len(curves) // _COLUMNS)
    heights = [*[1.65] * rows, *[0.6 + 0.22 * len(arms)] * len(models)]  # inches, at usual width
    scale = style.width_inches / FigureStyle().width_inches
    size = (style.width_inches, sum(heights) * scale)
    figure = Canvas(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(heights), _COLUMNS, height_ratios=heights)
    places = [divmod(n, _COLUMNS) for n in range(len(curves))]
    axes = [figure.add_subplot(grid[row, column]) for row, column in places]
    if curves:
        _curves(axes, frame, curves, style)
    for i, model in enumerate(models):
        below = figure.add_subplot(grid[rows + i, :])
        _at_the_end(below, frame[frame["track"] == model], arms, style)
    marks = "large marks: the last step" if curves else ""
    more = layout.beyond(len(arms) - len(curves), "curves") if curves else ""
    return figure, layout.joined(marks, more, left_out)


def _arms(frame: pd.DataFrame) -> list[str]:
    return sorted(set(frame["arm"]) - {"sft"}, key=_place)


def _place(arm: str) -> tuple[int, str]:
    """A study's own arm, such as kl_strong, stands after what its name begins with."""
    family = [i for i, name in enumerate(ARM_LABELS) if f"{arm}_".startswith(f"{name}_")]
    return max(family, default=len(ARM_LABELS)), arm


def _curves(axes: list[Axes], frame: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    levels, _ = layout.by_seed(frame[frame["kind"] == "level"])
    shown = levels[levels["step"] > levels["step"].min()]  # where all start, nothing is compared
    limits = [
        (max(part["low"].min() - 0.02, -0.02), part["high"].max() + 0.02)
        for part in (shown[shown["rule"] == rule] for rule in RULES)
    ]
    plain = {"color": looks.GREY, "linestyle": looks.DASHED, "marker": "o", **looks.OPEN}
    for i, (ax, arm) in enumerate(zip(axes, arms, strict=True)):
        _curve(ax, levels[levels["arm"] == "sft"], "plain SFT", plain)
        _curve(ax, levels[levels["arm"] == arm], "the method", looks.look(style, "number"))
        ax.set(xlim=limits[0], ylim=limits[1])
        ax.xaxis.set_major_formatter(layout.as_percent)
        ax.yaxis.set_major_formatter(layout.as_percent)
        last = i + _COLUMNS >= len(arms)
        ax.tick_params(labelleft=i % _COLUMNS == 0, labelbottom=last)
        if i % _COLUMNS == 0:
            ax.set_ylabel("OOD accuracy (%)")
        if last:
            ax.set_xlabel("ID accuracy (%)")
        layout.title(ax, ARM_LABELS.get(arm, arm))


def _curve(ax: Axes, levels: pd.DataFrame, label: str, form: dict) -> None:
    x, y = (levels[levels["rule"] == rule].sort_values("step") for rule in RULES)
    ax.plot(x["accuracy"], y["accuracy"], label=label, **form | {"markersize": 3.5})
    ax.errorbar(
        x["accuracy"], y["accuracy"], layout.errors(y, "accuracy"), layout.errors(x, "accuracy"),
        fmt="none", ecolor=form["color"], elinewidth=0.6, alpha=0.45, capsize=0,
    )  # fmt: skip
    last = form | {"linestyle": "", "markersize": 7}
    ax.plot(x["accuracy"].iloc[-1:], y["accuracy"].iloc[-1:], **last)


def _at_the_end(ax: Axes, frame: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    changes, _ = layout.by_seed(frame[frame["kind"] == "difference"])
    last = changes["step"].max()
    changes = changes[changes["step"] == last].set_index("arm")
    for rule, shift in (("id", -0.14), ("ood", 0.14)):
        own = changes[changes["rule"] == rule].reindex(arms)
        places = [i + shift for i in range(len(arms))]
        form = looks.look(style, rule) | {"linestyle": "", "markersize": 5}
        ax.errorbar(
            own["accuracy"], places, xerr=layout.errors(own, "accuracy"), label=RULES[rule], **form
        )
    ax.axvline(0, color=looks.INK, linewidth=0.9)
    ax.set_yticks(range(len(arms)), [ARM_LABELS.get(arm, arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(layout.as_percent)
    ax.set_xlabel("accuracy, method \N{MINUS SIGN} plain SFT (percentage points)")
    layout.title(ax, frame["track"].iloc[0], f"method beside plain SFT at step {last}")


def message(frame: pd.DataFrame) -> str:
    """Return how many methods change OOD accuracy at the last step of SFT."""
    own = (frame["kind"] == "difference") & (frame["rule"] == "ood")
    return messages.by_track(layout.by_seed(frame[own])[0], lambda own: at_the_end(own, "arm"))


def at_the_end(frame: pd.DataFrame, what: str) -> str:
    """Return for how many arms the difference to plain SFT rises or falls at the last step."""
    last = frame[frame["step"] == frame["step"].max()]
    changes = {
        ARM_LABELS.get(row.arm, row.arm): messages.of_row(row._asdict())
        for row in last.itertuples()
    }
    return messages.counted("OOD", what, changes, "against plain SFT")


def _asked(study: Study) -> bool:
    return bool(set(study.sft.methods) & set(study.sft.arms))


FIGURES = [
    Figure(
        "fig_methods",
        "arms",
        "ID against OOD accuracy along SFT, by method",
        __doc__,
        draw,
        message,
        asked=_asked,
    )
]
