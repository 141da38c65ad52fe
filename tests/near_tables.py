"""A synthetic table `neighbours`: accuracy falls with the distance, and most of all at End."""

import pandas as pd

DISTANCES = {
    "training rule": (0,),
    "cards": (-1, 1),
    "target": (1, 2, 4),
    "card exchanged": (1,),
    "equal rule": (3, 9, 15, 21, 27),
    "unequal rule": (2, 6, 12, 18, 24),
    "rendering": (1, 2, 3, 5, 6),
}
LEVELS = {"base": (0.02, 1.0), "maxood": (0.55, 30.0), "end": (0.6, 6.0), "rl": (0.7, 14.0)}


def neighbours() -> pd.DataFrame:
    levels = [
        {"neighbour": kind, "distance": distance, "landmark": landmark, "since": "",
         "accuracy": height / (1 + abs(distance) / width), "n": 300}
        for kind, distances in DISTANCES.items()
        for distance in distances
        for landmark, (height, width) in LEVELS.items()
    ]  # fmt: skip
    by_place = {(r["neighbour"], r["distance"], r["landmark"]): r["accuracy"] for r in levels}
    changes = [
        {**row, "since": before, "accuracy": row["accuracy"] - by_place[*place, before]}
        for row in levels
        for place in [(row["neighbour"], row["distance"])]
        for before in {"end": ["maxood"], "rl": ["end"]}.get(row["landmark"], [])
    ]
    frames = []
    for seed, shift in (("0", -0.02), ("1", 0.02), ("all", 0.0)):
        frame = pd.DataFrame([*levels, *changes])
        frame["accuracy"] += shift * (frame["since"] == "")
        frame["low"], frame["high"] = frame["accuracy"] - 0.06, frame["accuracy"] + 0.06
        level = frame["since"] == ""
        frame.loc[level, ["low", "high"]] = frame.loc[level, ["low", "high"]].clip(0, 1)
        frames.append(frame.assign(track="tiny", protocol="near", seed=seed))
    return pd.concat(frames, ignore_index=True)
