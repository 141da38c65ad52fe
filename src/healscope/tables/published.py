"""Published numbers beside what this study measured, with intervals on both sides."""

from pathlib import Path

import numpy as np
import pandas as pd

from healscope import published, stats
from healscope.config import Statistics
from healscope.tables.rows import at_landmarks, first_attempts

LEVELS = ("maxood", "end", "rl")
CONTRASTS = (("maxood", "end"), ("end", "rl"), ("maxood", "rl"))
PUBLISHED_PROTOCOL = "234 hands, any of five tries with feedback, one seed"


def comparison(
    files: list[str], evaluations: list[str], landmark_files: list[str], settings: Statistics
) -> pd.DataFrame:
    """Accuracy at the landmarks and its changes: published, measured, compatible?

    Only values of figure 1 that are to be trusted. `compatible` is "no" where the interval of
    the difference between measured and published leaves out zero (intervals taken as normal and
    independent), else "yes". Levels of different models and protocols need not agree; it is the
    changes, the paper's claims, that a study of another model can speak to: `kind` tells them
    apart. `published_alone` says whether the published change is told from zero by itself.
    """
    values = published.counts(published.read(Path(files[0]).parent))
    values = values[(values["figure"] == "fig1") & (values["metric"] == "accuracy")]
    changes = published.changes(values)
    rows = first_attempts(evaluations)
    rows = at_landmarks(rows[rows["split"] == "held_out"], landmark_files, list(LEVELS))
    out = []
    for model, own in rows.groupby("model"):
        for rule in ("id", "ood"):
            at = {name: own[(own["landmark"] == name) & (own["rule"] == rule)] for name in LEVELS}
            for name in LEVELS:
                e = stats.bootstrap(at[name], "correct", settings)
                same = values[(values["split"] == rule) & (values["stage"] == name)]
                for value in same.to_dict("records"):
                    claim = value["value"], value["low"], value["high"]
                    out.append(_row(model, value, rule, "level", name, claim, e))
            for before, after in CONTRASTS:
                e = stats.bootstrap(stats.paired(at[before], at[after]), "change", settings)
                name = f"{before}→{after}"
                same = changes[(changes["split"] == rule) & (changes["contrast"] == name)]
                for value in same.to_dict("records"):
                    claim = value["change"], value["low"], value["high"]
                    out.append(_row(model, value, rule, "change", name, claim, e))
    return pd.DataFrame(out)


def _row(model, value: dict, rule: str, kind: str, name: str, claim: tuple, e) -> dict:
    said, low, high = claim
    spread = np.hypot((high - low) / 2, (e.high - e.low) / 2)
    return {
        "model": model,
        "seed": "all",
        "published_model": value["model"],
        "rule": rule,
        "kind": kind,
        "what": name,
        "published": said,
        "published_low": low,
        "published_high": high,
        "published_n": value["n"],
        "published_alone": bool(value.get("establishes", True)),
        "measured": e.value,
        "low": e.low,
        "high": e.high,
        "compatible": "yes" if abs(e.value - said) <= spread else "no",
        "same_direction": bool(np.sign(e.value) == np.sign(said)),
    }
