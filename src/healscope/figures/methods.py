"""Methods of SFT: what each gives in ID accuracy for what it keeps in OOD accuracy."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import ARM_LABELS, FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    INK,
    RULES,
    as_percent,
    by_seed,
    errors,
    legend,
    look,
    styled,
    title,
)

_COLUMNS = 3


@styled
def tradeoff(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """ID against OOD accuracy along SFT, a panel for each arm with the plain arm behind it; below,
    what each arm changes at the last step."""
    models = list(frame["track"].unique())
    arms = sorted(set(frame["arm"]) - {"sft"}, key=_place)
    rows = -(-len(arms) // _COLUMNS)
    heights = [*[1.75] * rows, 0.9 + 0.22 * len(arms)]  # inches, in a figure of the usual width
    scale = style.width_inches / FigureStyle().width_inches
    size = (style.width_inches, (len(models) * sum(heights) + 0.8) * scale)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(
        len(models) * (rows + 1), _COLUMNS, height_ratios=heights * len(models)
    )
    for i, model in enumerate(models):
        own = frame[frame["track"] == model]
        first = i * (rows + 1)
        places = [divmod(n, _COLUMNS) for n in range(len(arms))]
        axes = [figure.add_subplot(grid[first + row, column]) for row, column in places]
        _curves(axes, own, arms, style)
        _at_the_end(figure.add_subplot(grid[first + rows, :]), own, arms, style)
    legend(
        figure, 2,
        "crosses and bars: intervals over all seeds; large marks: the last step",
    )  # fmt: skip
    return figure


def _place(arm: str) -> tuple[int, str]:
    """A study's own arm, such as kl_strong, stands after what its name begins with."""
    family = [i for i, name in enumerate(ARM_LABELS) if f"{arm}_".startswith(f"{name}_")]
    return max(family, default=len(ARM_LABELS)), arm


def _curves(axes, frame: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    levels, _ = by_seed(frame[frame["kind"] == "level"])
    shown = levels[levels["step"] > levels["step"].min()]  # where all start, nothing is compared
    limits = [
        (max(here["low"].min() - 0.02, -0.02), here["high"].max() + 0.02)
        for here in (shown[shown["rule"] == rule] for rule in RULES)
    ]
    plain = {"color": CONTROL, "linestyle": DASHED, "marker": "o", "markerfacecolor": "white"}
    for i, (ax, arm) in enumerate(zip(axes, arms, strict=True)):
        _curve(ax, levels[levels["arm"] == "sft"], "plain SFT", plain)
        _curve(ax, levels[levels["arm"] == arm], "the method", look(style, "number"))
        ax.set(xlim=limits[0], ylim=limits[1])
        ax.xaxis.set_major_formatter(as_percent)
        ax.yaxis.set_major_formatter(as_percent)
        ax.tick_params(labelleft=i % _COLUMNS == 0, labelbottom=i + _COLUMNS >= len(arms))
        if i % _COLUMNS == 0:
            ax.set_ylabel("OOD accuracy (%)")
        if i + _COLUMNS >= len(arms):
            ax.set_xlabel("ID accuracy (%)")
        title(ax, ARM_LABELS.get(arm, arm))


def _curve(ax: Axes, levels: pd.DataFrame, label: str, form: dict) -> None:
    x, y = (levels[levels["rule"] == rule].sort_values("step") for rule in RULES)
    ax.plot(x["accuracy"], y["accuracy"], label=label, **form | {"markersize": 3.5})
    ax.errorbar(
        x["accuracy"], y["accuracy"], errors(y, "accuracy"), errors(x, "accuracy"),
        fmt="none", ecolor=form["color"], elinewidth=0.6, alpha=0.45, capsize=0,
    )  # fmt: skip
    last = form | {"linestyle": "", "markersize": 7}
    ax.plot(x["accuracy"].iloc[-1:], y["accuracy"].iloc[-1:], **last)


def _at_the_end(ax: Axes, frame: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    changes, _ = by_seed(frame[frame["kind"] == "difference"])
    last = changes["step"].max()
    changes = changes[changes["step"] == last].set_index("arm")
    for rule, shift in (("id", -0.14), ("ood", 0.14)):
        own = changes[changes["rule"] == rule].loc[arms]
        places = [i + shift for i in range(len(arms))]
        form = look(style, rule) | {"linestyle": "", "markersize": 5}
        ax.errorbar(
            own["accuracy"], places, xerr=errors(own, "accuracy"), label=RULES[rule], **form
        )
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.set_yticks(range(len(arms)), [ARM_LABELS.get(arm, arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(as_percent)
    ax.set_xlabel("accuracy, method \N{MINUS SIGN} plain SFT (percentage points)")
    title(ax, frame["track"].iloc[0], f"method beside plain SFT at step {last}")
