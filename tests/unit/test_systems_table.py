"""The twelve systems: each has its finding and its claim, and rows come from the claims table."""

import re

import pandas as pd
import pytest

from healscope import provenance
from healscope.findings import FINDINGS, systems
from healscope.findings.claims import SCHEMA as CLAIMS
from healscope.schema import check


def test_each_of_twelve_names_a_finding_and_a_claim_of_it():
    assert len(systems.SYSTEMS) == 12
    for system in systems.SYSTEMS:
        finding = FINDINGS[system.finding]
        assert finding.system, system.finding
        assert finding.judge, system.finding
        assert any(re.fullmatch(name, system.claim) for name in finding.claim_names), system.claim
        assert re.fullmatch(r"\d{4}\.\d{5}", system.source)
    assert len({system.finding for system in systems.SYSTEMS}) == 12


@pytest.fixture
def claims(tmp_path):
    row = {
        "track": "rich", "claim": "hard-samples-harm", "statement": "s", "verdict": "undecided",
        "verdict_alone": "undecided", "family": "primary", "p": 0.4, "p_adjusted": 1.0,
        "unit": "share", "effect": -0.021, "low": -0.1, "high": 0.06,
        "by_seed": [-0.02, -0.022], "seeds": 2, "instances": 111, "detectable": 0.1, "detail": "d",
        "margin": 0.02, "sd_seeds": 0.0, "sd_instances": 0.3, "sd_both": 0.2, "sd_answers": 0.4,
        "rule": "rises",
    }  # fmt: skip
    times = {"claim": "execution-errors-fall-first", "unit": "iterations", "effect": 12.0,
             "low": 3.0, "high": 21.0, "verdict": "held"}  # fmt: skip
    other = {"claim": "ood-falls-after-its-peak"}
    file = tmp_path / "claims.parquet"
    provenance.write_table(file, pd.DataFrame([row, row | times, row | other]), {}, CLAIMS)
    return str(file)


def test_rows_are_those_of_the_claims_table(claims):
    table = systems.measure([claims])
    check(table, systems.SCHEMA)
    assert dict(zip(table["number"], table["verdict"], strict=True)) == {4: "undecided", 9: "held"}
    assert table.set_index("number").loc[4, "source"] == "2605.28388"
    page = systems.section(table)
    assert "**undecided**: -2.1 [-10.0, +6.0] (rich)" in page
    assert "**held**: +12.0 [+3.0, +21.0] iterations (rich)" in page
    assert page.count("| – |") == 10
    both = systems.section(pd.concat([table, table.assign(track="other", verdict="did not hold")]))
    assert "(rich); **did not hold**: -2.1 [-10.0, +6.0] (other)" in both
