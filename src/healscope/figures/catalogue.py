"""Every figure of the study: its table, its drawing, its title and its caption.

The workflow reads this at the start of every job, so nothing that draws is imported before `draw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from healscope.errors import HealscopeError

if TYPE_CHECKING:
    import pandas as pd

    from healscope.config import FigureStyle
    from healscope.figures.style import Draw

_LOSS = ("id_train_loss_nats", "id_test_loss_nats")
_FORMAT = ("id_test_format_error_share", "ood_test_format_error_share")
_INTERVAL = ("low", "high")
_ACCURACY = ("rule", "accuracy", *_INTERVAL)
_CURVES = ("stage", "step", "split", *_ACCURACY)
_EDITS = ("stage", "name", "kind", "axis", "amount", "control", "from_target", "from_parent",
          *_ACCURACY)  # fmt: skip
_MATRIX = ("pair", "control", "layer", "role")

_WAYS = ("first_attempt_retried", "pass_at_1", "pass_at_k", "after_none", "after_outcome",
         "after_full")  # fmt: skip
_SIGNALS = ("id_train_loss_nats", "id_test_loss_nats", "id_entropy_nats", "id_train_accuracy",
            "id_test_accuracy", "id_kl_from_base_nats", "neutral_kl_from_base_nats",
            "weight_drift", "rotation_degrees")  # fmt: skip
_NO_EXPLANATION = ": what this figure shows cannot be read as an explanation of it"


@dataclass(frozen=True)
class Figure:
    """A figure of the study: `table` with `columns` (and model, seed) is all of ours it shows."""

    name: str
    table: str
    drawing: str  # module.function, in this package
    title: str
    columns: tuple[str, ...]
    gate: tuple[str, ...] = ()  # stages whose phenomenon the figure explains
    overlay: bool = False  # published values can be drawn over it

    @property
    def draw(self) -> Draw:
        """The drawing function: (frame, style) -> matplotlib figure."""
        module, function = self.drawing.split(".")
        return getattr(import_module(f"healscope.figures.{module}"), function)

    @property
    def caption(self) -> str:
        """File name of the caption, in the workflow's report folder."""
        return f"{self.name}.rst"

    def check(self, frame: pd.DataFrame) -> None:
        """Raises HealscopeError where `frame` cannot be drawn."""
        needed = ("track", "seed", *self.columns)
        missing = [column for column in needed if column not in frame]
        if missing:
            raise HealscopeError(f"{self._where()}: no column {', '.join(missing)}")
        if frame.empty:
            raise HealscopeError(f"{self._where()}: the table has no rows")
        if any(c.endswith("low") for c in needed) and "all" not in set(frame["seed"]):
            raise HealscopeError(f"{self._where()}: no rows with seed 'all', the aggregate")

    def _where(self) -> str:
        return f"table '{self.table}' cannot be drawn as {self.name}"


_ALL = (
    Figure("fig1", "landmarks", "training.landmarks",
           "Accuracy at MaxOOD, End and RL", ("landmark", "checkpoint", *_ACCURACY), overlay=True),
    Figure("fig2a", "sft-training", "training.losses_id",
           "ID loss during SFT", ("step", *_LOSS), overlay=True),
    Figure("fig2b", "sft-training", "training.format_errors",
           "Format errors during SFT", ("step", *_FORMAT), overlay=True),
    Figure("fig3a", "curves", "training.accuracy_ood",
           "OOD accuracy during SFT and after RL", _CURVES, overlay=True),
    Figure("fig3b", "curves", "training.accuracy_id",
           "ID accuracy during SFT and after RL", _CURVES),
    Figure("fig4", "reversion-sft", "reversions.values",
           "Singular values put back, SFT", _EDITS, gate=("sft",)),
    Figure("fig5", "reversion-rl", "reversions.values",
           "Singular values put back, RL", _EDITS, gate=("rl",)),
    Figure("fig6", "reversion-sft", "reversions.directions",
           "Singular directions put back, SFT", _EDITS, gate=("sft",)),
    Figure("fig7", "reversion-rl", "reversions.directions",
           "Singular directions put back, RL", _EDITS, gate=("rl",)),
    Figure("fig8", "sft-training", "training.losses",
           "ID and OOD loss during SFT", ("step", *_LOSS, "ood_test_loss_nats")),
    Figure("fig9", "task-landmarks", "tasks.landmarks",
           "Accuracy at MaxOOD, End and RL, task by task",
           ("task", "kind", "landmark", "checkpoint", "n", "instances", *_ACCURACY)),
    Figure("fig10", "rl-window", "training.window",
           "What RL changes, by its start", ("start", "rule", "change", *_INTERVAL)),
    Figure("fig11", "rl-training", "rl.single_stage",
           "RL from the base model, beside later starts",
           ("main", "start", "iteration", "reward_mean", "correct_share", "policy_loss",
            "failure")),
    Figure("fig12", "rl-training", "rl.hacking",
           "Reward and success along RL",
           ("run", "recipe", "start", "iteration", "kind", "main", "landmark", "reward",
            "reward_mean", "correct_share", "hacking_alarm", "failure")),
    Figure("fig13", "singular-values", "spectra.singular_values",
           "Change of the singular values", (*_MATRIX, "index", "sigma_a", "sigma_b"),
           gate=("sft", "rl")),
    Figure("fig14", "principal-angles", "spectra.principal_angles",
           "Rotation of the singular subspaces", (*_MATRIX, "index", "side", "fraction", "degrees"),
           gate=("sft", "rl")),
    Figure("fig15", "hidden-states", "hidden.hidden_states",
           "Hidden states at the landmarks",
           ("kind", "position", "rule", "landmark", "other", "pc1", "pc2", "share1", "share2",
            "value", "chance"), gate=("sft", "rl")),
    Figure("fig_delta", "weight-updates", "spectra.updates",
           "Where in the spectrum updates live",
           (*_MATRIX, "quantity", "part", "value", "chance"), gate=("sft", "rl")),
    Figure("fig_tasks", "task-curves", "tasks.curves",
           "Accuracy during SFT and after RL, task by task",
           ("task", "stage", "step", "instances", *_ACCURACY)),
    Figure("fig_errors", "errors", "errors.errors",
           "Errors by step of the answer (appendix D.1)",
           ("stage", "step", "rule", "kind", "name", "value", *_INTERVAL)),
    Figure("fig_factorial", "factorial", "design.factorial",
           "Rule and composition of the hands, apart",
           ("stage", "step", "kind", "name", "value", *_INTERVAL)),
    Figure("fig_protocols", "protocols", "design.protocols",
           "Accuracy by how attempts are counted", ("protocol", "split", "stage", "step", "rule",
           "k", "attempts", *_WAYS, *(f"{way}_{end}" for way in _WAYS for end in _INTERVAL))),
    Figure("fig_episodes", "episodes", "episodes.episodes",
           "Whole routes and their steps, along SFT and after RL",
           ("protocol", "stage", "step", "split", "rule", "way", "measure", "share", *_INTERVAL)),
    Figure("fig_neighbours", "neighbours", "neighbours.neighbours",
           "Accuracy by distance from the training rule",
           ("protocol", "neighbour", "distance", "landmark", "since", "accuracy", *_INTERVAL)),
    Figure("fig_signals", "signals", "stopping.signals",
           "What can be watched along SFT", ("step", *_SIGNALS, "ood_test_accuracy")),
    Figure("fig_stopping", "stopping", "stopping.stopping",
           "Regret of stopping rules",
           ("signal", "rule", "rank", "regret", "by_seed", *_INTERVAL)),
    Figure("fig_window", "window", "rl.window",
           "What a start has from which RL heals",
           ("start", "healing", "positive_share", "advantage_entropy_nats", "entropy_nats",
            "kl_from_base_nats")),
    Figure("fig_recipes", "recipes", "rl.recipes",
           "What heals?",
           ("recipe", "start", "kind", "healing", *_INTERVAL, "id_change", "hacking", "failed")),
    Figure("fig_repair", "repair", "reversions.repair",
           "What edits of the weights repair, and at what cost",
           ("name", "picked", "kind", "control", "id_change", "ood_change", "id_low", "id_high",
            "ood_low", "ood_high", "ood_by_seed", "front"), gate=("sft",)),
    Figure("fig_arms", "arms", "design.arms",
           "SFT beside its control arms", ("arm", "kind", "step", *_ACCURACY)),
    Figure("fig_methods", "arms", "methods.tradeoff",
           "ID against OOD accuracy along SFT, by method", ("arm", "kind", "step", *_ACCURACY)),
)  # fmt: skip

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def render(
    figure_name: str,
    frame: pd.DataFrame,
    style: FigureStyle,
    pdf_path: str | Path,
    png_path: str | Path,
    record: dict | None = None,
    answers: pd.DataFrame | None = None,
    published: Sequence[str] = (),
    tracks: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Draws a figure and saves it twice; equal input gives equal bytes.

    `record`, its provenance, goes into the files' metadata: Keywords of the PDF, the text
    `healscope` of the PNG. `answers`, the table of `findings.gate`, is what stands under a figure
    that explains a phenomenon; `published` are the files of published values, drawn where the
    figure can take them and the style names a model. `tracks` are facts of what column `model`
    names, where these are more than models that play the card game: then a reader is told the task,
    and published values of that game are not drawn over another.

    Raises HealscopeError where the frame is empty or lacks a column or the rows over all seeds.
    """
    entry = FIGURES[figure_name]
    entry.check(frame)
    styling = import_module("healscope.figures.style")
    labels = {name: f"{t['model']} \N{MIDDLE DOT} {t['task']}" for name, t in tracks.items()}
    others = [n for n, t in tracks.items() if t["family"] != "generalpoints"]
    over = {}
    if entry.overlay and published and style.published:
        values = _published(entry, style.published, published[0])
        models = [name for name in frame["track"].unique() if name not in others]
        parts = [values.assign(over=labels.get(name, name)) for name in models]
        over |= {"published": import_module("pandas").concat(parts)} if parts else {}
    figure = entry.draw(_labelled(frame, labels), style, **over)
    if entry.gate and answers is not None:
        styling.footer(figure, style, _gate_lines(_labelled(answers, labels), entry.gate))
    styling.save(figure, style, pdf_path, png_path, record or {})


def _labelled(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    return frame.assign(track=frame["track"].replace(labels)) if labels else frame


def _published(entry: Figure, model: str, file: str) -> pd.DataFrame:
    """What was published of `model` for this figure and was not read off a picture."""
    rows = import_module("healscope.published").read(Path(file).parent)
    own = (rows["figure"] == entry.name) & (rows["model"] == model)
    return rows[own & rows["trust"].isin(["exact", "off_grid"])]


def _gate_lines(answers: pd.DataFrame, stages: tuple[str, ...]) -> list[str]:
    """The gate's answers; where it found no phenomenon, the reader is told what follows."""
    rows = answers[answers["stage"].isin(stages)]
    said = import_module("healscope.findings.gate").sentences(rows, stages)
    warned = ["" if a.startswith("present") else _NO_EXPLANATION for a in rows["answer"]]
    return [
        f"Phenomenon gate \N{EM DASH} {text}{warning}"
        for text, warning in zip(said, warned, strict=True)
    ]
