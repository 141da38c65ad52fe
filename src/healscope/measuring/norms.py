"""How large each weight matrix is at the landmarks: Frobenius norms."""

import pandas as pd

from healscope import artifacts
from healscope.config import LANDMARKS, Study
from healscope.measuring import Cost, Inputs
from healscope.schema import RUN_SEED, TRACK, Schema, choice, count, number
from healscope.spectra.matrices import ROLES

TABLES: dict[str, str] = {}
COLUMNS = (
    choice("landmark", LANDMARKS, "which checkpoint"),
    count("layer", "decoder layer from 0; -1 for embeddings and head", low=-1),
    choice("role", ROLES, "which matrix of the layer"),
    number("norm", "Frobenius norm of the matrix"),
)
KEY = ("landmark", "layer", "role")

SCHEMA = Schema(
    "norms-probe",
    artifacts.probe("norms"),
    "How large one weight matrix is at a landmark.",
    (*COLUMNS, TRACK, RUN_SEED),
    KEY,
)


def reads(study: Study) -> list[str]:
    """All landmarks."""
    return list(study.landmark_checkpoints)


def settings(study: Study, _track: str) -> dict:
    """The matrices that spectra are taken of."""
    return {"matrices": study.spectra.matrices}


def cost(study: Study) -> Cost:
    """Weights of every landmark; nothing is generated."""
    return Cost(loads=len(study.landmark_checkpoints), sequences=0)


def measure(inputs: Inputs, settings: dict, _seed: int, _label: str) -> pd.DataFrame:
    """Returns the norm of every matrix at every landmark."""
    from healscope.spectra import sources

    rows = []
    for landmark, manifest in inputs.checkpoints.items():
        stored = sources.weights(manifest)
        for matrix in sources.matrices_of(stored, settings["matrices"]):
            norm = float(sources.read(stored, matrix).double().norm())
            place = {"landmark": landmark, "layer": matrix.layer, "role": matrix.role}
            rows.append({**place, "norm": norm})
    return pd.DataFrame(rows)
