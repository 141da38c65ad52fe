"""What must hold of any input: tried on many small ones, the same each time."""

import json
import re
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import Parity

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.spectra import nulls
from healscope.spectra.angles import principal_angles
from healscope.training import ppo

numbers = st.floats(-3, 3)
shares = st.floats(0.01, 0.99)


# intervals


@st.composite
def frames(draw, seeds=3):
    """Right answers of a few seeds to a few instances, of which each has a few problems."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=8))
    rows = [
        {"seed": seed, "instance_id": f"i{i}", "problem_id": f"i{i}.{k}",
         "correct": float(draw(st.booleans()))}
        for seed in range(draw(st.integers(1, seeds)))
        for i, size in enumerate(sizes)
        for k in range(size)
    ]  # fmt: skip
    return pd.DataFrame(rows)


QUICK = Statistics(resamples=200)


@settings(max_examples=20)
@given(frames(), st.randoms(use_true_random=False))
def test_an_interval_does_not_depend_on_the_order_of_rows(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    one, other = (
        stats.bootstrap(f, "correct", QUICK) for f in (frame, frame.iloc[order].reset_index())
    )
    assert (one.low, one.value, one.high) == pytest.approx((other.low, other.value, other.high))
    assert one.by_seed == pytest.approx(other.by_seed)
    assert 0 <= one.low <= one.value <= one.high <= 1


@settings(max_examples=20)
@given(frames(seeds=1))
def test_the_share_of_wrong_answers_has_the_mirrored_interval(frame):
    right = stats.bootstrap(frame, "correct", QUICK)
    wrong = stats.bootstrap(frame.assign(correct=1 - frame["correct"]), "correct", QUICK)
    assert (wrong.low, wrong.value, wrong.high) == pytest.approx(
        (1 - right.high, 1 - right.value, 1 - right.low)
    )


@given(st.integers(0, 60), st.integers(1, 60), shares)
def test_wilson_holds_the_share_and_narrows_with_more_answers(correct, n, confidence):
    correct = min(correct, n)
    low, high = stats.wilson(correct, n, confidence)
    assert 0 <= low <= correct / n <= high <= 1
    closer = stats.wilson(4 * correct, 4 * n, confidence)
    assert low <= closer[0] + 1e-12
    assert closer[1] <= high + 1e-12
    assert stats.wilson(n - correct, n, confidence) == pytest.approx((1 - high, 1 - low))


# the hold-out


@settings(max_examples=20)
@given(held_out=st.floats(0.05, 0.9), seed=st.integers(0, 10_000))
def test_a_hold_out_is_of_instances_and_halved_evenly_under_both_rules(held_out, seed):
    task = Parity(name="parity", held_out=held_out, seed=seed)
    table = task.problem_table()
    instances = table.drop_duplicates("instance_id")
    assert (table.groupby("instance_id")[["split", "half"]].nunique() == 1).all(axis=None)
    assert (instances["split"] == "held_out").sum() == round(held_out * len(instances))
    for _, rows in instances.groupby("split"):
        assert abs((rows["half"] == "a").sum() - (rows["half"] == "b").sum()) <= 1
    held = set(instances.loc[instances["split"] == "held_out", "instance_id"])
    assert not held & set(task.sft_table()["instance_id"])
    assert not held & set(task.rl_table()["instance_id"])


# PPO


@given(
    st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=8), shares, shares,
    numbers,
)  # fmt: skip
def test_gae_is_the_direct_sum_of_its_equation(turns, discount, lam, following):
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, up to the end of the episode."""
    rewards, values, ends = (list(column) for column in zip(*turns, strict=True))
    found, returns = ppo.gae(
        torch.tensor(rewards, dtype=torch.float64), torch.tensor(values, dtype=torch.float64),
        torch.tensor(ends), discount, lam, following,
    )  # fmt: skip
    after = [*values[1:], following]
    for t in range(len(turns)):
        expected = 0.0
        for n in range(t, len(turns)):
            delta = rewards[n] + (0 if ends[n] else discount * after[n]) - values[n]
            expected += (discount * lam) ** (n - t) * delta
            if ends[n]:
                break
        assert float(found[t]) == pytest.approx(expected, abs=1e-9)
        assert float(returns[t]) == pytest.approx(expected + values[t], abs=1e-9)


# names, paths and records

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.]{0,8}", fullmatch=True)
PATTERNS = [
    value for name, value in vars(artifacts).items()
    if name.isupper() and isinstance(value, str) and "{" in value and "{format}" not in value
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_path_is_read_as_it_was_made_whatever_the_names(pattern, data):
    names = {
        name: str(data.draw(st.integers(0, 99)) if name == "seed" else data.draw(words))
        for name in re.findall(r"\{(\w+)\}", pattern)
    }
    assert artifacts.parse(pattern, artifacts.path(pattern, **names)) == names


def leaves(values, above=()):
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def test_a_fingerprint_changes_with_every_value_of_a_config(study):
    values = json.loads(json.dumps(study.model_dump(mode="json")))
    seen = {provenance.record(values)["fingerprint"]}
    places = list(leaves(values))
    for place in places:
        changed = deepcopy(values)
        at = changed
        for name in place[:-1]:
            at = at[name]
        at[place[-1]] = "something else"
        seen.add(provenance.record(changed)["fingerprint"])
    assert len(places) > 150
    assert len(seen) == 1 + len(places)


# subspaces


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 12))
def test_angles_stay_under_a_common_rotation_and_a_change_of_basis(seed, extra, k):
    rng = torch.Generator().manual_seed(seed)
    m = k + extra
    x, y, turn = (nulls.orthonormal(m, r, rng) for r in (k, k, m))
    inside = nulls.orthonormal(k, k, rng)
    found = principal_angles(x, y, [k])[k]
    assert torch.allclose(found, principal_angles(turn @ x, turn @ y, [k])[k], atol=1e-7)
    assert torch.allclose(found, principal_angles(x @ inside, y, [k])[k], atol=1e-7)
    assert torch.allclose(found, principal_angles(y, x, [k])[k], atol=1e-7)
    assert all(a <= b + 1e-12 for a, b in pairwise(found.tolist()))
    assert 0 <= float(found[0]) <= float(found[-1]) <= np.pi / 2 + 1e-12
