"""Losses and format errors during SFT: figures 2a, 2b and 8 of arXiv 2509.12235."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS_ID = """
Cross-entropy loss under the ID rule along SFT, on deals seen in training and on held-out deals.
There is no interval here: the band is the range of the seeds. Compared with Figure 3a it shows
whether a loss curve could have pointed to the checkpoint with the best OOD accuracy. Where a
published model is drawn over it, in grey and with open marks, its losses are of another model and
tokenizer, so only the shapes compare. Answers Figure 2a of `arXiv 2509.12235`_.
"""
FORMAT = """
Share of responses that do not have the required format, along SFT, under the ID and the OOD rule.
There is no interval here: the band is the range of the seeds. While this share falls, rising
accuracy may be format and not arithmetic. Where a published model is drawn over it, in grey and
with open marks, neither its definition of a format error nor its number of answers is stated.
Answers Figure 2b of `arXiv 2509.12235`_.
"""
LOSS = """
Cross-entropy loss along SFT: under the ID rule on training and on held-out deals, and under the OOD
rule on held-out deals. There is no interval here: the band is the range of the seeds. Compared with
Figure 3a it shows whether loss and accuracy under the OOD rule move together. Answers Figure 8 of
`arXiv 2509.12235`_.
"""
_ID = {
    "id_train_loss_nats": "ID, training problems",
    "id_test_loss_nats": "ID, held-out problems",
}
_ID_AND_OOD = {**_ID, "ood_test_loss_nats": "OOD, held-out problems"}
_ERRORS = {
    "id_test_format_error_share": "ID, held-out problems",
    "ood_test_format_error_share": "OOD, held-out problems",
}
# metric -> marker and name, of the published values that belong to a figure
_PUBLISHED_LOSS = {"train_loss_nats": ("v", ", training batches"), "loss_nats": ("D", ", test")}
_PUBLISHED_ERRORS = {"format_error_share": ("D", "")}


def draw(
    frame: pd.DataFrame,
    style: FigureStyle,
    published: pd.DataFrame | None = None,
    *,
    series: dict[str, str],
    known: dict[str, tuple[str, str]],
) -> Drawn:
    """Draw the mean over seeds of each column of `series`, and the range of the seeds."""
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.4)
    for ax, model in zip(axes[:, 0], models, strict=True):
        steps = frame[frame["track"] == model].groupby("step")
        for column, name in series.items():
            lines = steps[column].agg(["mean", "min", "max"]).dropna()
            form = _look(style, column)
            ax.plot(lines.index, lines["mean"], label=name, **form)
            band = {"color": form["color"], "alpha": 0.18, "linewidth": 0}
            ax.fill_between(lines.index, lines["min"], lines["max"], **band)
        last = int(frame["step"].max())
        if published is not None and len(over := published[published["over"] == model]):
            for metric, (marker, what) in known.items():
                published_line(ax, over[over["metric"] == metric], marker, what)
            last = max(last, int(over["x"].max()))
        layout.step_axis(ax, layout.round_steps(last))
        layout.from_zero(ax)
        if series is _ERRORS:
            layout.percent_axis(ax, "format errors (% of responses)")
        else:
            ax.set_ylabel("loss (nats per token)")
        layout.title(ax, model)
    seeds = "line: mean of the seeds; band: their range" if layout.several_seeds(frame) else ""
    return figure, layout.joined(seeds, left_out)


def published_line(ax: Axes, rows: pd.DataFrame, marker: str, what: str) -> None:
    """Draw open marks and a thin line, in grey: not of this study."""
    rows = rows.sort_values("x")
    x, y = rows["x"].to_numpy(float), rows["value"].to_numpy(float)
    every = max(1, len(rows) // 25)
    ax.plot(
        x, y, label=f"published: {rows['model'].iloc[0]}{what}", color=looks.GREY, marker=marker,
        markersize=4, markeredgewidth=0.8, markevery=every, linestyle=looks.DASHED, linewidth=0.9,
        zorder=1.9, **looks.OPEN,
    )  # fmt: skip


def _look(style: FigureStyle, column: str) -> dict:
    form = looks.look(style, column.split("_")[0])
    if "train" in column:
        form |= {"linestyle": looks.DOTTED, "marker": "v"}
    return form | {"markersize": 3, "markevery": 0.08, "linewidth": 1.3}


def _lowest(frame: pd.DataFrame, column: str) -> tuple[int, pd.Series]:
    """Return the step where the mean over seeds is lowest, and how far each seed ends above its
    value there."""
    runs = frame.pivot(index="step", columns="seed", values=column).dropna()
    step = runs.mean(axis=1).idxmin()
    return step, runs.iloc[-1] - runs.loc[step]


def _loss(frame: pd.DataFrame, rule: str) -> str:
    step, rise = _lowest(frame, f"{rule}_test_loss_nats")
    what = f"{rule.upper()} loss on held-out problems"
    if step == frame["step"].max():
        return f"{what} is lowest at the last step, {step}"
    rises = f"rises by {messages.over_seeds(rise, ' nats per token')}"
    if not (rise > 0).all():
        return f"{what}: no rise after step {step} in every seed"
    return f"{what} is lowest at step {step}, then {rises}"


def _format_errors(frame: pd.DataFrame) -> str:
    last = frame[frame["step"] == frame["step"].max()]
    shares = [messages.over_seeds(last[column], "%") for column in _ERRORS]
    return f"format errors end at {shares[0]} of ID and {shares[1]} of OOD responses"


FIGURES = [
    Figure(
        "fig2a",
        "sft-training",
        "ID loss during SFT",
        LOSS_ID,
        partial(draw, series=_ID, known=_PUBLISHED_LOSS),
        lambda frame: messages.by_track(frame, lambda own: _loss(own, "id")),
        overlay=True,
    ),
    Figure(
        "fig2b",
        "sft-training",
        "Format errors during SFT",
        FORMAT,
        partial(draw, series=_ERRORS, known=_PUBLISHED_ERRORS),
        lambda frame: messages.by_track(frame, _format_errors),
        overlay=True,
    ),
    Figure(
        "fig8",
        "sft-training",
        "ID and OOD loss during SFT",
        LOSS,
        partial(draw, series=_ID_AND_OOD, known={}),
        lambda frame: messages.by_track(frame, lambda own: _loss(own, "ood")),
    ),
]
