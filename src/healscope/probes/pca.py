"""Principal components of hidden states, for drawing."""

import numpy as np
import pandas as pd


def principal_components(rows: pd.DataFrame) -> pd.DataFrame:
    """Two principal components, fitted for each rule on the states of all landmarks together.

    `rows` needs landmark, rule, pair_id and state (a list). Columns: landmark, rule, pair_id, pc1,
    pc2, share1, share2 (shares of the variance explained).
    """
    parts = []
    for _, group in rows.groupby("rule", sort=True):
        states = np.array(group["state"].tolist(), dtype=np.float64)
        centred = states - states.mean(0)
        _, s, vt = np.linalg.svd(centred, full_matrices=False)
        signs = np.sign(vt[:2].sum(1))  # an SVD leaves signs open; fix them
        scores = centred @ (vt[:2].T * signs)
        shares = s**2 / (s**2).sum()
        parts.append(
            group[["landmark", "rule", "pair_id"]].assign(
                pc1=scores[:, 0], pc2=scores[:, 1], share1=shares[0], share2=shares[1]
            )
        )
    return pd.concat(parts, ignore_index=True)
