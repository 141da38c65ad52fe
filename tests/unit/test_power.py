"""How likely studies decide their claims, where it is known; and where chance comes from."""

import contextlib

import numpy as np
import pandas as pd
import pytest

from healscope import cli, provenance
from healscope.config import Statistics
from healscope.findings.claims import SCHEMA
from healscope.findings.contrasts import row
from healscope.planning import power
from healscope.stats import Sources, bootstrap
from healscope.verdicts import at_most, corrected, positive, window

SETTINGS = Statistics(resamples=400)
PLANTED = Sources(seeds=0.06, instances=0.3, both=0.2, answers=0.45)


def answers(seeds: int, instances: int, effect: float, s: Sources = PLANTED) -> pd.DataFrame:
    """Changes of single answers, two of each instance in each seed, with known variances."""
    rng = np.random.default_rng(3)
    own = np.sqrt(max(s.answers**2 - s.seeds**2 - s.instances**2 - s.both**2, 0))
    values = (
        effect
        + s.seeds * rng.standard_normal((seeds, 1, 1))
        + s.instances * rng.standard_normal((1, instances, 1))
        + s.both * rng.standard_normal((seeds, instances, 1))
        + own * rng.standard_normal((seeds, instances, 2))
    )
    index = pd.MultiIndex.from_product(
        [range(seeds), map(str, range(instances)), range(2)], names=["seed", "instance_id", "draw"]
    )
    return pd.Series(values.ravel(), index, name="change").reset_index()


def claim(name: str, e, judge=positive, margin: float = 0.02) -> dict:
    return {"track": "tiny", **row(name, f"{name}.", e, judge(e, margin), "planted")}


def claims(*rows: dict) -> pd.DataFrame:
    return corrected(pd.DataFrame(rows), [r["claim"] for r in rows], 0.95)


def test_sources_of_chance_are_told_apart():
    found = bootstrap(answers(60, 400, 0.05), "change", SETTINGS).sources
    assert found.seeds == pytest.approx(PLANTED.seeds, rel=0.25)
    assert found.instances == pytest.approx(PLANTED.instances, rel=0.1)
    rest = PLANTED.answers**2 - PLANTED.seeds**2 - PLANTED.instances**2 - PLANTED.both**2
    assert found.both == pytest.approx(np.sqrt(PLANTED.both**2 + rest / 2), rel=0.1)
    assert found.answers == pytest.approx(PLANTED.answers, rel=0.1)


def test_one_seed_tells_no_sources():
    assert bootstrap(answers(1, 50, 0.05), "change", SETTINGS).sources is None


def decided(e, seeds: int, instances: int, judge=positive, margin: float = 0.02) -> float:
    table = claims(claim("a", e, judge, margin))
    found = power.power(table, [seeds], [instances], SETTINGS, studies=60)
    return found.set_index("claim").loc[power.ALL, "decided"]


def test_power_grows_with_what_the_chance_comes_from():
    by_seeds = bootstrap(answers(20, 200, 0.1, Sources(0.06, 0.1, 0.1, 0.3)), "change", SETTINGS)
    assert decided(by_seeds, 3, 200) < 0.7 < 0.8 < decided(by_seeds, 12, 200)
    assert decided(by_seeds, 3, 1600) < 0.7  # more instances say nothing of seeds
    by_instances = bootstrap(answers(6, 1500, 0.1, Sources(0, 0.7, 0.1, 0.8)), "change", SETTINGS)
    assert decided(by_instances, 6, 60) < 0.6 < 0.8 < decided(by_instances, 6, 2500)


def test_seeds_of_both_signs_decide_nothing_however_many():
    mixed = bootstrap(answers(20, 200, 0.1, Sources(0.15, 0.1, 0.1, 0.3)), "change", SETTINGS)
    assert decided(mixed, 60, 200) < 0.2  # the mean rises surely, most seeds do not


def test_an_effect_that_is_not_there_is_decided_by_the_margin():
    none = bootstrap(answers(6, 200, 0.0, Sources(0.005, 0.02, 0.02, 0.1)), "change", SETTINGS)
    assert decided(none, 6, 300, margin=0.06) > 0.8  # did not hold
    assert decided(none, 6, 300, margin=0.02) > 0.6
    assert decided(none, 6, 100, margin=0.02) < 0.1  # 3.6 points could hide in so few instances
    assert decided(none, 6, 300, at_most, 0.06) > 0.8  # held


def test_correction_counts_all_claims():
    e = bootstrap(answers(6, 100, 0.06, Sources(0.03, 0.2, 0.1, 0.3)), "change", SETTINGS)
    none = bootstrap(answers(6, 100, 0.0, Sources(0.2, 0.2, 0.1, 0.4)), "change", SETTINGS)
    alone = decided(e, 6, 100)
    many = claims(claim("a", e), *(claim(f"null-{i}", none) for i in range(12)))
    found = power.power(many, [6], [100], SETTINGS, studies=60).set_index("claim")
    assert found.loc["a", "held"] < alone - 0.1
    assert found.loc[power.ALL, "decided"] == 0
    more = power.power(claims(claim("a", e)), [6], [100], SETTINGS, studies=60, others=12)
    assert more.set_index("claim").loc["a", "held"] == pytest.approx(
        found.loc["a", "held"], abs=0.15
    )


def test_command_reads_a_table_of_claims(tmp_path, capsys):
    e = bootstrap(answers(4, 50, 0.2, Sources(0.02, 0.1, 0.1, 0.2)), "change", SETTINGS)
    several = {"track": "tiny", **row("b", "b.", e, window(e, [e]), "of two estimates")}
    file = tmp_path / "claims.parquet"
    config = {"statistics": SETTINGS.model_dump(), "primary": ["a", "b"]}
    provenance.write_table(file, claims(claim("a", e), several), provenance.record(config), SCHEMA)
    assert cli.main(["power", str(file), "--seeds", "3", "--instances", "60"]) == 0
    out = capsys.readouterr().out
    assert "60 instances" in out
    assert "not simulated, and counted as showing nothing: b" in out
    assert f"{100 * e.value:.1f}" in out


def test_claims_of_several_tracks_stand_apart(tmp_path):
    e = bootstrap(answers(4, 50, 0.2, Sources(0.02, 0.1, 0.1, 0.2)), "change", SETTINGS)
    other = {**claim("a", e), "track": "large"}
    file = tmp_path / "claims.parquet"
    config = {"statistics": SETTINGS.model_dump(), "primary": ["a"]}
    provenance.write_table(file, claims(claim("a", e), other), provenance.record(config), SCHEMA)
    text = power.table(file, [3], [60])
    assert "tiny: a" in text
    assert "large: a" in text


def test_command_refuses_what_tells_nothing(tmp_path, capsys):
    e = bootstrap(answers(1, 50, 0.2), "change", SETTINGS)
    file = tmp_path / "claims.parquet"
    config = {"statistics": SETTINGS.model_dump(), "primary": ["a"]}
    provenance.write_table(file, claims(claim("a", e)), provenance.record(config), SCHEMA)
    assert cli.main(["power", str(file)]) == 1
    assert "two seeds or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["power", "none.parquet"], "there is no none.parquet"),
        (["power", "text.parquet"], "text.parquet is no table of claims"),
        (["power", "other.parquet"], "other.parquet is no table of claims"),
        (["power", "--seeds", "0"], "argument --seeds: 0 is less than 1"),
        (["power", "--instances", "-4"], "argument --instances: -4 is less than 1"),
        (["plan", "--at-once", "0"], "argument --at-once: 0 is less than 1"),
    ],
)
def test_what_tells_nothing_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.parquet").write_text("x")
    pd.DataFrame({"a": [1]}).to_parquet("other.parquet")
    with contextlib.suppress(SystemExit):  # of argparse
        assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err
