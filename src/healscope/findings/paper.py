"""What arXiv 2509.12235 and its sibling 2508.16546 claim, and which claim of a study asks it.

One row of docs/claims.md each: the sentence, the published number, how surely it was read, the
estimate and verdict in each world, and what the claim's control says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from healscope import published
from healscope.markdown import chance, estimate, grid

PAPER, SIBLING = "2509.12235", "2508.16546"
_MODELS = {"llama-3.2-11b": "LLaMA", "qwen-2.5-7b": "Qwen"}


@dataclass(frozen=True)
class Published:
    """A published claim.

    says: the claim, in few words. where: its section. claim: the claim of a study that asks it.
    controls: claims that have to hold too, or the claim shows less than it says. number: what was
    published for it, in words. contrast: a change of figure 1 or 3a (`published.CONTRASTS`) on
    `split`, whose numbers are in config/published. trust: how surely the number was read; that of
    figure 1 is in its file. source: the arXiv number.
    """

    says: str
    where: str
    claim: str
    controls: tuple[str, ...] = ()
    number: str = ""
    trust: str = ""
    contrast: str = ""
    split: str = "ood"
    source: str = PAPER


CLAIMS = (
    Published(
        "OOD accuracy peaks early in SFT and then declines", "3.2", "ood-falls-after-its-peak",
        ("ood-falls-between-fixed-steps", "sft-forgets-other-rules"), contrast="maxood→end",
    ),
    Published(
        "The peak is early", "3.2", "ood-peaks-early",
        number="step 140 of 1100 (LLaMA), 120 of 800 (Qwen)", trust="text",
    ),
    Published(
        "ID accuracy rises meanwhile", "3.2", "id-rises-meanwhile-held-out",
        ("id-rises-meanwhile-train",), contrast="maxood→end", split="id",
    ),
    Published(
        "The training loss does not show the best checkpoint", "3.2",
        "training-loss-misses-the-peak", number="figure 2a", trust="vector figure",
    ),
    Published(
        "Nor does the ID test loss", "3.2", "test-loss-misses-the-peak",
        number="figure 2a", trust="vector figure",
    ),
    Published(
        "RL restores OOD accuracy", "3.2", "gate-recovery",
        ("rl-heals-more-than-sft_matched", "rl-heals-more-than-average"), contrast="end→rl",
    ),
    Published(
        "RL does not exceed the best SFT checkpoint", "3.2", "rl-does-not-exceed-the-peak",
        contrast="maxood→rl",
    ),
    Published(
        "RL heals from a window of SFT checkpoints alone", "3.2", "rl-heals-inside-a-window",
        number="steps 420 to 1200", trust="text; vector figure", contrast="sft→sft+rl",
    ),
    Published(
        "It needs 40 to 80% positive rewards", "3.2", "healing-needs-balanced-rewards",
        number="0.4 to 0.8", trust="text",
    ),
    Published(
        "It needs a policy whose entropy has not collapsed", "3.2", "healing-needs-entropy",
        number="none",
    ),
    Published(
        "OOD, the number step gets worse as SFT goes on", "D.1", "number-step",
        number="pictures alone",
    ),
    Published(
        "OOD, the formula step gets better as SFT goes on", "D.1", "formula-step",
        number="pictures alone",
    ),
    *(
        Published(
            f"Putting all singular values back ({stage.upper()} stage) changes neither ID nor OOD",
            "4.2", f"values-reversion-{stage}-ood", (f"values-reversion-{stage}-id",),
            number="ID and OOD curves are affine copies of each other, and no multiples of 1/234",
            trust="vector figure",
        )
        for stage in ("sft", "rl")
    ),
    *(
        Published(
            f"Putting singular vectors back ({stage.upper()} stage) changes OOD accuracy", "4.3",
            f"directions-reversion-{stage}-ood",
            (f"directions-beat-interpolation-{stage}", f"pinned-beat-interpolation-{stage}",
             f"directions-beat-rotation-{stage}"),
            number="pictures alone; the released edit with all vectors is the parent itself",
            trust="released code",
        )
        for stage in ("sft", "rl")
    ),
    Published(
        "The leading 20% of directions give back 70 to 80% of the lost OOD accuracy", "abstract",
        "top-directions-restore-sft", ("pinned-beat-rotation-sft",),
        number="70 to 80%", trust="secondary source", source=SIBLING,
    ),
    Published(
        "So do those of the first quarter of the layers", "abstract", "first-layers-restore-sft",
        number="70 to 80%", trust="secondary source", source=SIBLING,
    ),
)  # fmt: skip
"""In the order of the paper."""


def section(worlds: Mapping[str, tuple[pd.DataFrame, str]], values: str | Path) -> str:
    """Return the rows of CLAIMS as a Markdown table.

    worlds: name -> the claims table of a study, and the command that makes it again; a claim is
    looked up in all of them. values: folder of the published values.
    """
    changes = published.changes(published.counts(published.read(values)))
    rows = []
    for one in CLAIMS:
        where = one.where if one.where == "abstract" else f"section {one.where}"
        source = f"[{one.source}](https://arxiv.org/abs/{one.source}), {where}"
        number, trust = _number(one, changes)
        rows.append(
            (f"{one.says} ({source})", number, trust,
             *(_said(table, (one.claim,)) for table, _ in worlds.values()),
             "<br>".join(filter(None, (_controls(n, t, one) for n, (t, _) in worlds.items()))))
        )  # fmt: skip
    head = ["published claim", "published number", "read from", *worlds, "beside it"]
    made = "\n".join(f"- {name}: `{command}`" for name, (_, command) in worlds.items())
    return f"{grid(head, rows)}\n\nMade again by:\n\n{made}"


def _number(one: Published, changes: pd.DataFrame) -> tuple[str, str]:
    """Return the published number of a claim, and how it was read."""
    if not one.contrast:
        return one.number, one.trust or "–"
    own = changes[(changes["contrast"] == one.contrast) & (changes["split"] == one.split)]
    if own["x"].notna().all():  # figure 3a: a change at each step
        clear = own[own["establishes"]]["change"]
        said = (
            f"{one.number}; of {len(own)} starts RL ends above SFT at p < 0.05 from "
            f"{(clear > 0).sum()}, and below from {(clear < 0).sum()}"
        )
        return said, one.trust
    stages = [
        f"{_MODELS[r['model']]} {100 * r['before']:.1f} → {100 * r['after']:.1f}: "
        f"{estimate(r, 'change')}, p {chance(r['p'])}"
        for r in own.to_dict("records")
    ]
    return "<br>".join(stages), "printed labels, 234 problems, one run each"


def _said(table: pd.DataFrame, names: tuple[str, ...], named: bool = False) -> str:
    """Return verdict and estimate of some claims, track by track where there are several."""
    several = table["track"].nunique() > 1
    found = [
        (f"{r['track']}: " if several else "")
        + (f"{r['claim']}: " if named else "")
        + f"**{r['verdict']}** {estimate(r)}"
        for r in table[table["claim"].isin(names)].to_dict("records")
    ]
    return "<br>".join(found) or "not asked"


def _controls(name: str, table: pd.DataFrame, one: Published) -> str:
    said = _said(table, one.controls, named=True)
    return "" if said == "not asked" else f"{name}: {said}"
