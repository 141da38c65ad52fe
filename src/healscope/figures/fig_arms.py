"""
Controls: SFT beside itself with one thing changed, a row for each control. *Paraphrased prompts*:
every example has its own wording instead of the task's one prompt. *Any correct answer*: each time
a problem comes up, its answer is drawn anew among all correct formulas, instead of one that is
always the same; problems and their order are those of SFT. Left: accuracy of both along SFT on the
same held-out deals, all asked with the one prompt, under the ID and the OOD rule. Right: control
minus SFT, paired on the same problems. Intervals count instances and seeds, see docs/statistics.md;
thin lines are single seeds.

If forgetting came from the one prompt, or from a loss that punishes every answer but one, as `arXiv
2509.12235`_ (section 3.2) explains it, the OOD difference should grow along SFT while the ID
difference does not. An interval that contains zero does not show that prompts or answers do not
matter, only that this study cannot tell. The controls are not part of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import CONTROLS, FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.fig_methods import at_the_end
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# arms are told apart by line and by filling, so that colour and marker are the rule's
_PLAIN = {"linestyle": "-"}
_CONTROL = {"linestyle": looks.DASHED, **looks.OPEN}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy along SFT and along each of its control arms, and the difference."""
    controls = [arm for arm in CONTROLS if arm in set(frame["arm"])]
    models, left_out = layout.fitting(frame["track"], len(controls))
    rows = [(model, arm) for model in models for arm in controls]
    figure, axes = layout.panels(style, len(rows), 2, 2.3)
    for (left, right), (model, arm) in zip(axes, rows, strict=True):
        part = frame[(frame["track"] == model) & frame["arm"].isin(["sft", arm])]
        part = part.sort_values("step")
        for ax in (left, right):
            layout.step_axis(ax, part["step"], columns=2)
        _levels(left, part[part["kind"] == "level"], style)
        _differences(right, part[part["kind"] == "difference"], style)
        layout.zero_line(right)
        layout.from_zero(left)
        layout.percent_axis(left, "accuracy (%)")
        layout.percent_axis(right, "control \N{MINUS SIGN} SFT\n(percentage points)")
        layout.title(left, model, CONTROLS[arm])
        layout.title(right, "difference")
    layout.step_label(axes)
    return figure, layout.joined(layout.intervals(frame, "bands"), left_out)


def _levels(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, _ = layout.by_seed(frame)
    main = whole["arm"] == "sft"
    for rule, named in RULES.items():
        for own, what, line in ((main, "SFT", _PLAIN), (~main, "control", _CONTROL)):
            one = whole[own & (whole["rule"] == rule)]
            form = looks.look(style, rule) | line
            ax.plot(one["step"], one["accuracy"], label=f"{named}, {what}", **form)


def _differences(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    """Draw the control minus SFT; lines are named by the colour and marker of their rule."""
    whole, seeds = layout.by_seed(frame)
    for rule, named in RULES.items():
        form = looks.look(style, rule) | {"linestyle": looks.DOTTED}
        gap = whole[whole["rule"] == rule]
        layout.banded(ax, gap, "accuracy", f"{named}, difference", form)
        thin = form | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
        for _, one in seeds[seeds["rule"] == rule].groupby("seed"):
            ax.plot(one["step"], one["accuracy"], **thin)


def message(frame: pd.DataFrame) -> str:
    """Return for how many controls OOD accuracy differs from that of SFT at its last step."""
    own = (frame["kind"] == "difference") & (frame["rule"] == "ood")
    rows = layout.by_seed(frame[own & frame["arm"].isin(CONTROLS)])[0]
    return messages.by_track(rows, lambda own: at_the_end(own, "control"))


def _asked(study: Study) -> bool:
    return bool(set(CONTROLS) & set(study.sft.arms))


FIGURES = [
    Figure("fig_arms", "arms", "SFT beside its control arms", __doc__, draw, message, asked=_asked)
]
