"""How sparse updates are: planted supports, rounding by hand, equal lengths, seeds as units."""

import pandas as pd
import pytest
import torch

from healscope.config import Statistics
from healscope.findings import sparsity as finding
from healscope.measuring import sparsity
from healscope.schema import check

SETTINGS = Statistics(resamples=500)


def planted(share=0.1, size=1.0, shape=(40, 50)):
    """A matrix and an update of exactly this share of its entries."""
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(shape, generator=generator, dtype=torch.float64)
    delta = torch.zeros(old.numel(), dtype=torch.float64)
    chosen = torch.randperm(old.numel(), generator=generator)[: round(share * old.numel())]
    delta[chosen] = size
    return old, delta.view(shape)


def test_a_planted_support_is_counted_exactly():
    shares = sparsity.unchanged_shares(*planted(0.1))
    assert shares == {"float32": 0.9, "bf16": 0.9, "1e-5": 0.9}
    assert sparsity.unchanged_shares(*planted(0.1, 5e-6))["1e-5"] == 1.0


def test_what_is_below_half_a_step_of_bf16_vanishes_on_storing():
    """bf16 has 8 bits of mantissa: a weight w moves only by changes of about |w| / 512 or more."""
    old = torch.linspace(1.0, 1.99, 500, dtype=torch.float64).to(torch.bfloat16).double()
    small, large = (torch.full_like(old, by) for by in (0.9 * 2**-8 / 2, 1.1 * 2**-7))
    assert sparsity.unchanged_shares(old, small)["bf16"] == 1.0
    assert sparsity.unchanged_shares(old, small)["float32"] == 0.0
    assert sparsity.unchanged_shares(old, large)["bf16"] == 0.0


def test_controls_are_as_long_as_the_update():
    rl, sft = planted(0.1)[1], 3 * planted(0.8, 0.2)[1]
    deltas = {"rl": {0: rl, 1: 2 * rl}, "sft": {0: sft, 1: sft}}
    arms = dict(sparsity.arms(deltas, seed=0))
    assert list(arms) == ["rl", "sft", "sft scaled", "noise"]
    for name in ("sft scaled", "noise"):
        assert sparsity.length(arms[name]) == pytest.approx(sparsity.length(deltas["rl"]))
    for m in (0, 1):
        assert float(arms["noise"][m].norm()) == pytest.approx(float(deltas["rl"][m].norm()))
    assert "sft scaled" not in dict(sparsity.arms({"rl": deltas["rl"]}, seed=0))


def test_rank_is_that_of_the_update():
    u, v = torch.randn(40, 3), torch.randn(50, 3)
    assert sparsity.rank_share(u @ v.T) == pytest.approx(3 / 40)
    assert sparsity.rank_share(torch.zeros(4, 4)) == 0.0


def shares(rl, scaled):
    """Rows of `measure`, for each seed its share of entries unchanged in bf16."""
    rows = [
        {"track": "t", "arm": arm, "stored": stored, "seed": str(seed), "unchanged": value,
         "norm": 1.0, "rank": 1.0}
        for stored in ("bf16", "float32")
        for arm, values in (("rl", rl), ("sft scaled", scaled))
        for seed, value in enumerate(values)
    ]  # fmt: skip
    single = pd.DataFrame(rows)
    whole = single.groupby(["track", "arm", "stored"], as_index=False).mean(numeric_only=True)
    return pd.concat([whole.assign(seed="all"), single], ignore_index=True)


def overlaps(values, chance=0.2, largest=None):
    """Of entries changed in bf16, and of the largest changes, alike if not given."""
    kinds = {"bf16": values, "largest": largest or values}
    pairs = [("0", "1"), ("0", "2"), ("1", "2")]
    return pd.DataFrame(
        [
            {"track": "t", "pair": "end--rl", "role": "all", "changed": kind, "seed_a": a,
             "seed_b": b, "overlap": value, "chance_in_lines": chance}
            for kind, of_kind in kinds.items()
            for (a, b), value in zip(pairs, of_kind, strict=True)
        ]
    )  # fmt: skip


def verdicts(*given):
    return {c["claim"]: c for c in finding.claims_of(*given, SETTINGS)}


def test_sparser_than_sft_needs_seeds_that_agree():
    clear = verdicts(shares([0.80, 0.81, 0.79], [0.40, 0.41, 0.39]), None)
    held = clear["rl-is-sparser-than-sft-as-long"]
    assert held["verdict"] == "held"
    assert held["effect"] == pytest.approx(0.4)
    assert held["unit"] == "share of entries"
    spread = verdicts(shares([0.8, 0.4, 0.3], [0.40, 0.41, 0.39]), None)
    assert spread["rl-is-sparser-than-sft-as-long"]["verdict"] != "held"
    alone = verdicts(shares([0.8], [0.4]), None)
    assert alone["rl-is-sparser-than-sft-as-long"]["verdict"] == "undecided"


def test_seeds_share_entries_only_beyond_chance_and_ten_points():
    same = shares([0.8] * 3, [0.4] * 3)
    name = "seeds-change-the-same-entries"
    assert verdicts(same, overlaps([0.62, 0.60, 0.61]))[name]["verdict"] == "held"
    assert verdicts(same, overlaps([0.20, 0.21, 0.22]))[name]["verdict"] == "did not hold"
    assert verdicts(same, overlaps([0.30, 0.31, 0.30]))[name]["verdict"] != "held"
    rounding = overlaps([0.62, 0.60, 0.61], largest=[0.20, 0.21, 0.22])
    assert verdicts(same, rounding)[name]["verdict"] == "did not hold"


def test_pairs_are_no_units():
    """Three pairs of three seeds: the jackknife keeps their mean and widens their spread."""
    found = finding.shared(overlaps([0.5, 0.4, 0.3], chance=0.0), "bf16")
    assert sum(found.values()) / 3 == pytest.approx(0.4)
    assert found == pytest.approx({"0": 0.6, "1": 0.4, "2": 0.2})
    assert finding.shared(overlaps([0.5, 0.4, 0.3]).iloc[:1], "bf16") == {}


def test_the_table_weighs_matrices_by_their_entries(monkeypatch):
    probe = pd.DataFrame(
        [
            {"arm": "rl", "stored": "bf16", "layer": layer, "role": "q", "entries": entries,
             "unchanged": kept, "norm": norm, "rank": 1.0, "track": "t", "seed": 0}
            for layer, entries, kept, norm in ((0, 100, 1.0, 3.0), (1, 300, 0.0, 4.0))
        ]
    )  # fmt: skip
    check(probe, sparsity.SCHEMA)
    monkeypatch.setattr(finding.provenance, "read_table", lambda _: probe)
    table = finding.measure(["probe"])
    check(table, finding.SCHEMA)
    whole = table[table["seed"] == "all"].iloc[0]
    assert (whole["unchanged"], whole["norm"]) == (0.25, 5.0)
    assert "| rl | bf16 | 25.00 | 5 | 100.0 |" in finding.section(table)
