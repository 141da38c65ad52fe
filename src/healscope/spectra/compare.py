"""Two checkpoints side by side, matrix by matrix: singular values and principal angles."""

import numpy as np
import pandas as pd
from scipy.linalg import subspace_angles

from healscope.spectra.factors import Factors, Matrix


def compare(
    a: dict[Matrix, Factors], b: dict[Matrix, Factors], fractions: list[float]
) -> pd.DataFrame:
    """Tidy rows (layer, role, quantity, side, fraction, index, a, b):

    - quantity "sigma": the index-th singular value of a and of b, in weight units;
    - quantity "angle": b holds the index-th principal angle, ascending, in degrees, between the
      leading k = fraction * rank left or right singular vectors (arXiv 2509.12235, eq. 2.4.2);
    - quantity "drift": b holds |W_b - W_a|_F / |W_a|_F.

    Angles are sine-based where they are small (Knyazev and Argentati 2002), so that they are right
    below 1e-8 rad too.
    """
    frames = []
    for matrix, old in a.items():
        new = b[matrix]
        place = {"layer": matrix.layer, "role": matrix.role}
        index = np.arange(len(old.s))
        frames.append(
            pd.DataFrame(
                {
                    **place,
                    "quantity": "sigma",
                    "side": "",
                    "fraction": np.nan,
                    "index": index,
                    "a": old.s.numpy(),
                    "b": new.s.numpy(),
                }
            )  # fmt: skip
        )
        frames += [
            _angles(place, side, x, y, fraction)
            for side, x, y in (("left", old.u, new.u), ("right", old.v, new.v))
            for fraction in fractions
        ]
        w = old.matrix()
        drift = float((new.matrix() - w).norm() / w.norm())
        frames.append(
            pd.DataFrame(
                [
                    {
                        **place,
                        "quantity": "drift",
                        "side": "",
                        "fraction": np.nan,
                        "index": 0,
                        "a": 0.0,
                        "b": drift,
                    }
                ]
            )  # fmt: skip
        )
    return pd.concat(frames, ignore_index=True)


def _angles(place: dict, side: str, x, y, fraction: float) -> pd.DataFrame:
    k = leading(fraction, x.shape[1])
    degrees = np.rad2deg(np.sort(subspace_angles(x[:, :k].numpy(), y[:, :k].numpy())))
    return pd.DataFrame(
        {**place, "quantity": "angle", "side": side, "fraction": fraction,
         "index": np.arange(k), "a": 0.0, "b": degrees}
    )  # fmt: skip


def leading(fraction: float, rank: int) -> int:
    """Number of directions that a share of the rank stands for; at least one."""
    return max(1, round(fraction * rank))
