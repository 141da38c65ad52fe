"""Hidden states: which states they are, and what is said of where they lie."""

import numpy as np
import pandas as pd
import pytest
import torch

from healscope import provenance
from healscope.figures.catalogue import FIGURES
from healscope.findings.hidden_states import hidden_states
from healscope.measuring import geometry
from healscope.measuring.hidden_states import SCHEMA, prompt_states, states_at
from healscope.models import tokens
from healscope.schemas import SCHEMAS


def test_the_states_are_what_the_output_layer_reads(model_and_tokenizer, tables):
    """After the final norm, which is applied once: the output layer makes the logits from them."""
    model, tokenizer = model_and_tokenizer
    prompts = [*tables[0]["prompt"].head(70), "cards", "J 10"]  # more than a batch, three lengths
    with torch.no_grad():
        model.model.norm.weight.mul_(3)  # else a second application would hardly show
        states = prompt_states(model, tokenizer, prompts)
        for prompt, (last, mean) in zip(prompts, states, strict=True):
            ids = torch.tensor([tokens.prompt_ids(tokenizer, prompt)])
            logits = model(ids).logits[0]
            assert torch.allclose(model.lm_head(last), logits[-1], atol=1e-5)
            assert torch.allclose(model.lm_head(mean), logits.mean(0), atol=1e-5)


def test_the_same_problems_are_asked_at_every_landmark(base_manifest, tables):
    frame = states_at({"base": base_manifest, "end": base_manifest}, tables[0], 3)
    assert len(frame) == 2 * 2 * 2 * 3  # landmarks, positions, rules, pairs
    rows = frame.set_index(["landmark", "position", "rule", "pair_id"])["state"]
    asked = tables[0].set_index(["rule", "pair_id"])
    for _, position, rule, pair in rows.loc[["base"]].index:
        both = [rows[name, position, rule, pair] for name in ("base", "end")]
        assert np.array_equal(*both)
        assert asked.loc[(rule, pair), "split"] == "held_out"
        assert asked.loc[(rule, pair), "n_faces"] > 0


def cloud(seed: int = 0, prompts: int = 40, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(prompts, width))


def test_a_distance_counts_in_spreads():
    states = cloud()
    spread = np.sqrt(((states - states.mean(0)) ** 2).sum(1).mean())
    shift = np.array([3 * spread, 0, 0, 0, 0, 0])
    assert geometry.distance(states, states + shift) == pytest.approx(3)
    assert geometry.distance(10 * states, 10 * (states + shift)) == pytest.approx(3)


def test_cka_sees_the_arrangement_alone():
    states = cloud()
    turn = np.linalg.qr(cloud(1, 6, 6))[0]
    assert geometry.linear_cka(states, 5 * states @ turn + 2) == pytest.approx(1)
    assert geometry.linear_cka(states, np.roll(states, 1, axis=0)) < 0.7
    # closed form: two clouds that share one of two equally wide, independent directions
    x, y, z = np.linalg.qr(cloud(2, 40, 4) - cloud(2, 40, 4).mean(0))[0].T[:3]
    assert geometry.linear_cka(np.stack([x, y], 1), np.stack([x, z], 1)) == pytest.approx(0.5)


def test_the_way_back_is_measured_along_the_line():
    maxood, end = np.zeros(400), np.zeros(400)
    end[0] = 10.0
    rl = end.copy()
    rl[:2] = [7.0, 4.0]  # three tenths back, and four to the side
    back, chance = geometry.way_back(maxood, end, rl)
    assert back == pytest.approx(0.3)
    draws = np.random.default_rng(0).normal(size=(2000, 400))
    steps = 5 * draws / np.linalg.norm(draws, axis=1, keepdims=True)
    shares = [geometry.way_back(maxood, end, end + step)[0] for step in steps]
    assert np.mean(np.abs(shares) < chance) == pytest.approx(0.95, abs=0.02)
    assert np.isnan(geometry.way_back(end, end, rl)).all()


@pytest.fixture
def states() -> pd.DataFrame:
    """States of two positions, two rules and four landmarks along one line; RL goes half back."""
    at = {"base": -4.0, "maxood": 0.0, "end": 8.0, "rl": 4.0}
    frames = []
    for position in geometry.POSITIONS:
        for rule in ("id", "ood"):
            for name, x in at.items():
                rows = cloud(3)
                rows[:, 0] += x
                pairs = [f"p{i}" for i in range(len(rows))]
                place = {"position": position, "rule": rule, "landmark": name}
                frames.append(pd.DataFrame({**place, "pair_id": pairs, "state": list(rows)}))
    return pd.concat(frames, ignore_index=True)


def test_components_are_fitted_once_for_all_landmarks_and_rules(states):
    rows = geometry.describe(states)
    points = rows[rows["kind"] == "state"]
    shares = points.groupby("position")[["share1", "share2"]].nunique()
    assert (shares == 1).all(axis=None)
    one = points[points["position"] == "last"]
    assert abs(one["pc1"].mean()) < 1e-9
    assert one["pc1"].var() > one["pc2"].var()
    means = one.groupby("landmark")["pc1"].mean()
    order = means.loc[["base", "maxood", "rl", "end"]]
    assert order.is_monotonic_increasing or order.is_monotonic_decreasing
    assert abs(means["end"] - means["maxood"]) == pytest.approx(8, rel=0.02)
    total = np.var(np.stack(states.loc[states["position"] == "last", "state"]), axis=0).sum()
    assert one["pc1"].var(ddof=0) / total == pytest.approx(one["share1"].iloc[0])


def test_the_numbers_are_about_every_pair(states):
    rows = geometry.describe(states)
    numbers = rows[rows["kind"] != "state"].set_index(
        ["kind", "position", "rule", "landmark", "other"]
    )["value"]
    assert len(numbers) == 2 * 2 * (6 + 6 + 1)
    assert numbers["way_back", "mean", "ood", "end", "rl"] == pytest.approx(0.5)
    assert numbers["cka", "last", "id", "base", "rl"] == pytest.approx(1)
    far = numbers["distance", "last", "id", "base", "end"]
    assert far == pytest.approx(3 * numbers["distance", "last", "id", "base", "maxood"])


def test_the_rows_fit_their_tables(states, tmp_path):
    files = [str(tmp_path / f"seed-{seed}.parquet") for seed in (0, 1)]
    for seed, file in enumerate(files):
        rows = geometry.describe(states).assign(track="m", seed=seed)
        provenance.write_table(file, rows, {}, SCHEMA)
    frame = hidden_states(files)
    provenance.write_table(tmp_path / "table.parquet", frame, {}, SCHEMAS["hidden-states"])
    assert set(frame["seed"]) == {"0", "1"}
    FIGURES["fig15"].check(frame)
