"""Principal components of hidden states, for drawing, and numbers about all dimensions.

Two components show little of what happens in a hundred or thousands of dimensions, and components
fitted on several checkpoints always show what sets these apart. So numbers stand beside them.
Shape suffixes: P prompts, D dimensions.
"""

from itertools import combinations

import numpy as np
import pandas as pd

POSITIONS = ("last", "mean")
"""Of a prompt's states: that of its last token, from which the answer starts, and their mean."""

KINDS = ("state", "distance", "cka", "way_back")
"""A prompt's components; how far two landmarks' means are apart; linear CKA of their states; how
far RL went back from End towards MaxOOD."""

CHANCE = 1.96  # standard deviations within which a random direction stays, 19 times of 20


def describe(states: pd.DataFrame) -> pd.DataFrame:
    """Return tidy rows about states (columns landmark, rule, pair_id, position, state: a list) of
    one run.

    Columns: kind (one of KINDS), position, rule, landmark, other, pair_id, pc1, pc2, share1,
    share2, value, chance. Where `kind` is about two landmarks, `landmark` and `other`, those of the
    components are missing, and the other way round.
    """
    parts = []
    for _, group in states.groupby("position", sort=False):
        parts.append(principal_components(group))
        for (position, rule), rows in group.groupby(["position", "rule"], sort=True):
            place = {"position": position, "rule": rule, "pair_id": ""}
            parts.append(pd.DataFrame(_numbers(rows)).assign(**place))
    return pd.concat(parts, ignore_index=True)


def principal_components(states: pd.DataFrame) -> pd.DataFrame:
    """Return every state on the first two principal components of all rows together.

    One fit for all landmarks and both rules, each with as many prompts, so that panels can be laid
    over each other. share1 and share2 are shares of the variance explained.
    """
    x_PD = np.stack(states["state"].to_list()).astype(np.float64)
    centred_PD = x_PD - x_PD.mean(0)
    _, s, vt = np.linalg.svd(centred_PD, full_matrices=False)
    signs = np.where(vt[:2].sum(1) < 0, -1.0, 1.0)  # an SVD leaves signs open; fix them
    scores = centred_PD @ (vt[:2].T * signs)
    share = s**2 / (s**2).sum()
    return states[["position", "rule", "landmark", "pair_id"]].assign(
        kind="state", other="", pc1=scores[:, 0], pc2=scores[:, 1], share1=share[0], share2=share[1]
    )


def _numbers(states: pd.DataFrame) -> list[dict]:
    """About every pair of landmarks, under one rule and at one position."""
    at = {
        name: np.stack(rows.sort_values("pair_id")["state"].to_list()).astype(np.float64)
        for name, rows in states.groupby("landmark", sort=False)
    }
    found = []
    for a, b in combinations(at, 2):
        for kind, measure in (("distance", distance), ("cka", linear_cka)):
            value = measure(at[a], at[b])
            pair = {"kind": kind, "landmark": a, "other": b}
            found.append({**pair, "value": value, "chance": float("nan")})
    if {"maxood", "end", "rl"} <= set(at):
        back, chance = way_back(*(at[name].mean(0) for name in ("maxood", "end", "rl")))
        here = {"kind": "way_back", "landmark": "end", "other": "rl"}
        found.append({**here, "value": back, "chance": chance})
    return found


def distance(a_PD: np.ndarray, b_PD: np.ndarray) -> float:
    """Return the distance of the means in units of the spread of prompts: |mean(a) - mean(b)| /
    spread, where spread² is the mean square distance of a prompt from its own landmark's mean."""
    between = np.linalg.norm(a_PD.mean(0) - b_PD.mean(0))
    within = np.mean([x.var(0).sum() for x in (a_PD, b_PD)])
    return float(between / np.sqrt(within))


def linear_cka(a_PD: np.ndarray, b_PD: np.ndarray) -> float:
    """Return the linear centred kernel alignment (Kornblith et al. 2019, eq. 3; arXiv 1905.00414)
    of the same prompts at two landmarks: 1 if prompts are arranged alike, up to rotation, shift and
    scale.

    With fewer prompts than dimensions it is close to 1 whatever the states are.
    """
    a, b = (x - x.mean(0) for x in (a_PD, b_PD))
    own = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / own)


def way_back(maxood_D: np.ndarray, end_D: np.ndarray, rl_D: np.ndarray) -> tuple[float, float]:
    """Return the share of the way from End to MaxOOD that RL's mean went back, and what chance
    allows.

    The share is (rl - end)·(maxood - end) / |maxood - end|²: 0 where RL moved at right angles to
    that way, 1 at its end, negative where it went on. A step as long as RL's in a random direction
    stays within plus or minus the second number, 19 times of 20 where dimensions are many. NaN
    where End is at MaxOOD.
    """
    back, step = maxood_D - end_D, rl_D - end_D
    length = np.linalg.norm(back)
    if not length:
        return float("nan"), float("nan")
    chance = CHANCE * np.linalg.norm(step) / length / np.sqrt(len(back))
    return float(step @ back / length**2), float(chance)
