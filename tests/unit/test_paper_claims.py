"""The published claims, beside what studies say to them."""

import re
import shutil

import pandas as pd
import pytest
from runner import ROOT

from healscope import findings, published
from healscope.findings import paper

VALUES = ROOT / "config/published"
STAGES = ["→".join(pair) for pair in published.CONTRASTS["fig1"]]
OF_FIGURE_1 = [one for one in paper.CLAIMS if one.contrast in STAGES]


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


@pytest.mark.parametrize("one", OF_FIGURE_1, ids=lambda c: c.says)
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


def test_starts_of_rl_are_counted_in_figure_3a(tmp_path):
    window = "RL heals from a window of SFT checkpoints alone"
    told = re.compile(
        r"of (\d+) starts RL ends above SFT at p < 0.05 from (\d+), and below from (\d+)"
    )
    at = (
        published.read(VALUES)
        .query("figure == 'fig3a'")
        .pivot(index="x", columns="stage", values="value")
    )
    gained = at["sft+rl"] - at["sft"]
    clear = [
        gain
        for gain, (before, after) in zip(gained, at[["sft", "sft+rl"]].to_numpy(), strict=True)
        if published.difference(round(before * 234), 234, round(after * 234), 234)[2] < 0.05
    ]
    number = rows(tiny=[said("rl-heals-inside-a-window", "held", 0.1)])[window][1]
    starts, above, below = map(int, told.search(number).groups())
    assert (starts, above, below) == (len(at), sum(g > 0 for g in clear), sum(g < 0 for g in clear))
    assert 0 < above < below < starts
    # Another file gives another sentence.
    shutil.copytree(VALUES, tmp_path / "published")
    file = tmp_path / "published/fig3a.csv"
    kept = [line for line in file.read_text().splitlines(True) if ",1100," not in line]
    file.write_text("".join(kept))
    text = paper.section(
        {"tiny": (pd.DataFrame([said("other", "held", 0.1)]), "make")}, file.parent
    )
    assert told.search(text).groups() == (str(starts - 1), str(above - 1), str(below))
