"""The published claims, beside what studies say to them."""

import pandas as pd
import pytest
from runner import ROOT

from healscope import findings, published
from healscope.findings import paper

VALUES = ROOT / "config/published"


def said(claim: str, verdict: str, effect: float, track: str = "tiny") -> dict:
    place = {"track": track, "claim": claim, "verdict": verdict, "unit": "share"}
    return {**place, "effect": effect, "low": effect - 0.05, "high": effect + 0.05}


def rows(**worlds) -> dict[str, list[str]]:
    """The first words of a claim -> its cells."""
    text = paper.section({n: (pd.DataFrame(t), f"make {n}") for n, t in worlds.items()}, VALUES)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].partition(" ([")[0]: cells for cells in lines[2:]}


def test_every_claim_and_every_control_is_one_that_studies_make():
    findings.check_primary([n for one in paper.CLAIMS for n in (one.claim, *one.controls)])
    assert len({one.says for one in paper.CLAIMS}) == len(paper.CLAIMS)


def test_a_verdict_stands_in_its_row_and_column_with_what_its_control_says():
    tiny = [
        said("gate-recovery", "held", 0.12),
        said("rl-heals-more-than-sft_matched", "did not hold", -0.03),
    ]
    real = [said("gate-recovery", "undecided", 0.01, "real"), said("other", "held", 0.5, "real")]
    found = rows(tiny=tiny, real=real)
    cells = found["RL restores OOD accuracy"]
    assert cells[3:5] == ["**held** +12.0 [+7.0, +17.0]", "**undecided** +1.0 [-4.0, +6.0]"]
    beside = "rl-heals-more-than-sft_matched: **did not hold** -3.0 [-8.0, +2.0]"
    assert cells[5] == f"tiny: {beside}"
    assert found["The peak is early"][3:5] == ["not asked", "not asked"]


def test_tracks_of_a_study_are_told_apart():
    both = [said("ood-peaks-early", "held", 0.1, track) for track in ("cards", "routes")]
    (cell,) = [cells[3] for says, cells in rows(both=both).items() if says == "The peak is early"]
    assert cell.startswith("cards: **held**")
    assert "<br>routes: **held**" in cell


@pytest.mark.parametrize("one", [c for c in paper.CLAIMS if c.contrast], ids=lambda c: c.says)
def test_numbers_of_figure_1_are_those_of_its_file(one):
    values = published.read(VALUES)
    before, after = one.contrast.split("→")
    number = rows(tiny=[said(one.claim, "held", 0.1)])[one.says][1]
    own = values[(values["figure"] == "fig1") & (values["split"] == one.split)]
    for model, name in (("llama-3.2-11b", "LLaMA"), ("qwen-2.5-7b", "Qwen")):
        at = own[own["model"] == model].set_index("stage")["value"]
        for first in [at[before]] if isinstance(at[before], float) else at[before]:
            for last in [at[after]] if isinstance(at[after], float) else at[after]:
                assert f"{name} {100 * first:.1f} → {100 * last:.1f}" in number
