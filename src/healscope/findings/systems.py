"""Twelve findings of other papers about RL after SFT: what each says, and what this study does.

A row joins a paper's sentence to the claim of the finding that asks it here. What the evidence of
the source is worth was judged by reading: its released code and result files, its text, or what
others write of it. A study that does not ask for one of them has no row of it.
"""

from dataclasses import dataclass

import pandas as pd

from healscope import artifacts, provenance
from healscope.findings.claims import UNITS
from healscope.findings.columns import in_unit, interval
from healscope.findings.contrasts import FLOOR
from healscope.findings.finding import Finding
from healscope.markdown import estimate, grid
from healscope.schema import IN_ITERATIONS, TRACK, change, count, table, text
from healscope.verdicts import VERDICTS


@dataclass(frozen=True)
class System:
    """A finding of another paper.

    source: its arXiv number. says: what it claims. evidence: what that rests on, and how it was
    read. finding, claim: the finding that asks it here, and its primary claim. control: what the
    claim has to beat. limits: what a small world cannot say about it.
    """

    source: str
    says: str
    evidence: str
    finding: str
    claim: str
    control: str
    limits: str


SYSTEMS = (
    System(
        "2505.11711",
        "RL changes a small share of the weights, much the same one in all runs",
        "released code that measures; overlap and training the subset alone from secondary "
        "sources; two later papers hold rounding in bf16 responsible",
        "sparsity",
        "rl-is-sparser-than-sft-as-long",
        "SFT from the same start, scaled to the length of RL's update",
        "nothing is sparse at rates of 1e-4: no entry stays as it was in float32, and few in bf16",
    ),
    System(
        "2504.07912",
        "RL amplifies one behaviour of pretraining, and adds little",
        "released code and text; models of 150M to 1B",
        "forms",
        "rl-amplifies-beyond-selection",
        "what keeping the right answers alone gives each form",
        "forms are layouts that pretraining mixed by design; nothing of knowledge in a corpus",
    ),
    System(
        "2507.16806",
        "A reward for right answers ruins calibration; a Brier term, which the claims of "
        "`confidence` ask about, repairs it without loss",
        "released code and result files; accuracy goes from .630 to .621 on one set and from .654 "
        "to .687 on another, so that `without loss` is a theorem about the optimum",
        "calibration",
        "rl-makes-samples-agree-too-much",
        "confidence is of samples that did not pick the answer, and has to rise above accuracy",
        "confidence is the agreement of samples, or one of eleven words; SFT alone, which goes "
        "further, is not in the verdict",
    ),
    System(
        "2605.28388",
        "RL on overly hard problems harms what was easy",
        "text and secondary sources, no code; some of its hard problems had a verifier that paid "
        "wrong answers by accident",
        "hard-samples",
        "hard-samples-harm",
        "RL on medium problems by the same verifier, on as many groups that differ",
        "hard problems of a card game are dull, not deep",
    ),
    System(
        "2603.23004",
        "RL collapses on the same problems with one part less",
        "abstract, and secondary sources for RL and for the variants",
        "without-one",
        "rl-collapses-on-a-card-less",
        "the same hands whole, which have to change by more",
        "a card game with two and three cards for optimal power flow",
    ),
    System(
        "2411.15382",
        "Fine-tuning takes the answer from its chain of thought",
        "text and secondary sources; an independent preregistered attempt found no support",
        "faithfulness",
        "sft-takes-the-answer-from-its-chain",
        "answers that are right at both checkpoints alone, since at chance everything moves",
        "the chain is a line of three numbers",
    ),
    System(
        "2510.25992",
        "Rewards for single steps that are like an expert's help where all answers fail",
        "reimplementations by others, no official code",
        "steps",
        "step-rewards-help-where-all-fail",
        "RL on whole answers, RL paid for outcomes on the same begun ones, SFT on the same steps",
        "answers of four steps",
    ),
    System(
        "2506.03106",
        "Critiques in words teach what right or wrong alone do not",
        "released code; its critic reads the reference solution",
        "critique",
        "critique-repairs-beyond-its-leak",
        "as much of the answer shown, without saying what the error is; the critique of another "
        "problem",
        "critiques are the verifier's words, not a model's",
    ),
    System(
        "2509.03646",
        "RL first mends execution, then planning",
        "text alone: the official repository has no code; it fails on one of the models",
        "phases",
        "execution-errors-fall-first",
        "two hazards that decay at one rate, whatever their heights",
        "seeds are the units, so three of them show large differences alone",
    ),
    System(
        "2602.08234",
        "A memory of successes and failures helps; one of successes verbatim and failures as "
        "lessons most, which `asymmetric-memory-beats-symmetric` asks",
        "released code; no ablation of the sources isolates the asymmetry",
        "memory",
        "memory-helps",
        "a memory of another rule with as many tokens",
        "lessons are written by rules, and state the rule; so does the rule itself, in fewer words",
    ),
    System(
        "2509.20162",
        "Rewarding answers that a text makes likely teaches the text better than SFT does",
        "released code; results not verified",
        "knowledge",
        "rlag-teaches-more-than-sft",
        "SFT on the same answers, at one rate and on as many tokens",
        "knowledge is the value of three cards; arms are equal in tokens, and SFT takes more steps",
    ),
    System(
        "2510.08558",
        "Agents learn from what other actions than an expert's lead to",
        "notes, data and results, no trainer; single runs",
        "experience",
        "early-experience-teaches",
        "SFT alone, and the same words with outcomes shuffled, on as many tokens",
        "a drawn town that the model reads as words; SFT alone, no RL after it",
    ),
)
"""In the order of the document that named them."""


def measure(claims: list[str]) -> pd.DataFrame:
    """Return a row for each of SYSTEMS and track that has its claim."""
    (file,) = claims
    made = provenance.read_table(file)
    out = []
    for number, system in enumerate(SYSTEMS, 1):
        for row in made[made["claim"] == system.claim].to_dict("records"):
            kept = {name: row[name] for name in ("track", "claim", "verdict", "seeds", "detail")}
            judged = {name: row[name] for name in ("effect", "low", "high")}
            about = {name: getattr(system, name) for name in ("source", "says", "finding")}
            out.append({"number": number, **about, **kept, **judged, "unit": row["unit"]})
    columns = [column.name for column in SCHEMA.columns]
    return pd.DataFrame(out, columns=columns)


def section(table: pd.DataFrame) -> str:
    """Return what each source says and is worth, and what this study says to it."""
    rows = []
    for number, system in enumerate(SYSTEMS, 1):
        source = f"[{system.source}](https://arxiv.org/abs/{system.source})"
        own = table[table["number"] == number].to_dict("records")
        said = "; ".join(map(_said, own)) or "–"
        rows.append((number, f"{system.says} ({source})", system.evidence, said, system.control,
                     system.limits))  # fmt: skip
    head = ["", "the source says", "which rests on", "here", "beside", "what a small world hides"]
    note = (
        "Changes are in points where no unit is named, with their interval, of the track in "
        "brackets; a dash: not asked, or nothing to judge. A claim about what is lost is undecided "
        f"where the start has less than {100 * FLOOR:.0f}% of it."
    )
    return f"{grid(head, rows)}\n\n{note}"


def _said(row: dict) -> str:
    unit = f" {row['unit']}" if row["unit"] == IN_ITERATIONS else ""
    return f"**{row['verdict']}**: {estimate(row)}{unit} ({row['track']})"


SCHEMA = table(
    "systems",
    "A finding of another paper about RL after SFT, and the claim that asks it here.",
    (
        count("number", "its place in `findings.systems.SYSTEMS`, from 1", ""),
        text("source", "arXiv number"),
        text("says", "what the source claims"),
        text("finding", "the finding that asks it here"),
        TRACK,
        text("claim", "name of the claim"),
        text("verdict", f"of the claims table: {', '.join(VERDICTS)}"),
        *in_unit(
            change("effect", "the change that decides", True),
            *interval(change, nullable=True),
            units=UNITS,
        ),
        count("seeds", "seeds behind it", "seeds"),
        text("detail", "what was compared, and numbers beside it"),
    ),
    "number", "track",
)  # fmt: skip

FINDING = Finding(
    name="systems",
    schema=SCHEMA,
    make=measure,
    inputs=lambda _: {"claims": [artifacts.path(artifacts.TABLE, table="claims")]},
    asked=lambda files: bool(files.trained and files.study.claims.systems),
    target=lambda _: True,
    order=31,
    title="What twelve papers say, and what this study says",
    section=section,
    joint=True,
)
