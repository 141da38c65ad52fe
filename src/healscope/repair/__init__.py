"""`healscope repair`: the edit that a study picks as its repair, as a model with a card."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from healscope import artifacts, diagnose, edit_names, provenance
from healscope.config import Study, sources
from healscope.errors import HealscopeError
from healscope.evaluation.landmarks import manifest
from healscope.files import Files
from healscope.findings.gate import FINDING as GATE
from healscope.findings.repair import FINDING, SHARE, STAGE, chosen
from healscope.markdown import estimate
from healscope.models.stored import MANIFEST
from healscope.repair import card, mergekit
from healscope.repair.export import export
from healscope.spectra import sources as weights

CARD, RECIPE = "README.md", "mergekit.yaml"
COLUMNS = {f.name: [c.name for c in f.schema.columns] for f in (FINDING, GATE)}


@dataclass(frozen=True)
class Ends:
    """The checkpoint that is repaired, and the one that it goes back towards: names, and folders
    below that of the study."""

    target: str
    parent: str
    folders: tuple[Path, Path]


def repair(
    folder: Path,
    out: Path,
    edit: str = "",
    configfiles: Sequence[str] = (),
    track: str = "",
    seed: int = 0,
) -> str:
    """Write the repair of a finished study in `folder` to the new folder `out`; return its name.

    `out` gets a Hugging Face folder in the target's types, a model card (README.md) with what was
    measured, checkpoint.json, and mergekit.yaml where mergekit can make the same weights. The edit
    is the one that costs least ID accuracy of those that give back SHARE of the OOD accuracy lost
    from parent to target, or `edit`. `configfiles` are the study's, else `diagnosis.yaml` there;
    `track` and `seed` name the model where there are several.

    Raises HealscopeError where the study is not finished, where nothing was lost, or where no edit
    was tried.
    """
    study = _study(folder, configfiles)
    track = _track(study, track)
    rows = _rows(folder, "repair", track)
    ends = _ends(folder, study, track, seed)
    if not edit:
        _refuse_without_loss(folder, track, rows)
    by_hand, edit = bool(edit), edit or chosen(rows, SHARE)
    if edit not in set(rows.loc[~rows["kind"].isin(["parent", "rl", "pick"]), "name"]):
        raise HealscopeError(f"edit '{edit}' was not tried in {folder}; add it to edits.also")
    target, parent = (weights.weights(folder / place / MANIFEST) for place in ends.folders)
    roles = study.spectra.matrices
    matrices = weights.matrices_of(target, roles)
    types = {str(target.dtype(m.name)).removeprefix("torch.") for m in matrices}
    with contextlib.chdir(folder):
        named = [_public(study, track, name) for name in (ends.target, ends.parent)]
        rl = study.rl_landmark and artifacts.sft(artifacts.parse_branch(study.rl_landmark)[1])
        rl_start = _public(study, track, rl) if rl else ""
    recipe = None
    if target.adapter is None and parent.adapter is None:  # mergekit takes none without its base
        recipe = mergekit.recipe(edit_names.parse(edit), *named, matrices, min(types))
    about = card.About(
        *named, edit, by_hand, recipe is not None, study.statistics.confidence, SHARE, rl_start
    )

    def beside(measured: dict[str, float]) -> dict[str, str]:
        recipes = {RECIPE: yaml.safe_dump(recipe, sort_keys=False)} if recipe else {}
        return {CARD: card.text(rows, about, measured), **recipes}

    export(target.folder, parent.folder, edit, out, roles, f"{track} {seed} {STAGE}", beside)
    return edit


def _study(folder: Path, configfiles: Sequence[str]) -> Study:
    own = folder / diagnose.CONFIG
    if not configfiles and not own.is_file():
        raise HealscopeError(
            f"{folder} is no folder of healscope diagnose (no {own.name}); of a study of your own "
            "give --configfile too"
        )
    places = [str(Path(file).resolve()) for file in configfiles] or [own.name]
    study = diagnose.check(folder, places)
    if STAGE not in study.edits.stages:
        raise HealscopeError(f"the study makes no edits of stage {STAGE} (edits.stages)")
    return study


def _track(study: Study, track: str) -> str:
    there = list(Files(study).followed)
    if track and track not in there:
        raise HealscopeError(f"no model '{track}' in the study; there are {', '.join(there)}")
    if not track and len(there) > 1:
        raise HealscopeError(f"the study has several models; name one: --model {there[0]}")
    return track or there[0]


def _rows(folder: Path, table: str, track: str) -> pd.DataFrame:
    """Return the rows of a table about one model."""
    place = artifacts.path(artifacts.TABLE, table=table)
    if not (folder / place).is_file():
        raise HealscopeError(
            f"{folder / place} is not there: run the study first (healscope diagnose --out "
            f"{folder}, or snakemake {place})"
        )
    rows = provenance.read_table(folder / place, columns=COLUMNS[table])
    rows = rows[rows["track"] == track]
    if rows.empty:
        raise HealscopeError(f"{folder / place} has no model '{track}'; run the study again")
    return rows


def _ends(folder: Path, study: Study, track: str, seed: int) -> Ends:
    points = study.edits.stages[STAGE]
    marks = folder / artifacts.path(artifacts.LANDMARKS, track=track, seed=seed)
    if not marks.is_file():
        raise HealscopeError(f"{marks} is not there: the study has no seed {seed} of {track}")
    places = [Path(manifest(str(marks), track, seed, p)) for p in (points.target, points.parent)]
    ends = Ends(*(p.parent.name for p in places), tuple(p.parent for p in places))
    if ends.target == ends.parent:
        raise HealscopeError(
            f"nothing to repair: {ends.target} is the checkpoint with the best OOD accuracy"
        )
    return ends


def _refuse_without_loss(folder: Path, track: str, rows: pd.DataFrame) -> None:
    """Raise HealscopeError unless the gate of the study says that there is a loss between the
    checkpoints of the stage, on problems that did not pick the best one."""
    gate = _rows(folder, "gate", track)
    loss = gate[(gate["stage"] == STAGE) & gate["edited"]]
    if loss.empty or not loss.iloc[0]["high"] < 0:
        known = "" if loss.empty else f": OOD accuracy changes by {estimate(loss.iloc[0])} points"
        raise HealscopeError(
            f"no loss is established{known}; name an edit with --edit to write it all the same"
        )
    if not chosen(rows, SHARE):
        raise HealscopeError("the study has tried no edits of stage sft (edits.kinds, edits.also)")


def _public(study: Study, track: str, checkpoint: str) -> str:
    """Return the hub id of a given checkpoint, else the name of its folder, which says nothing of
    the machine."""
    source = Files(study).given.get(track, {}).get(checkpoint, checkpoint)
    return source if sources.is_hub_id(source) else Path(source.partition("#")[0]).name
