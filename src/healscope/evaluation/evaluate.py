"""Verdicts of a stream of variants on fixed problems: one row for each attempt.

Every outcome, and every part of the error decomposition, is a column; nothing is averaged here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from healscope import provenance
from healscope.config import Evaluation
from healscope.evaluation.generate import generate, seeded
from healscope.models import tokens
from healscope.models.variants import Variant, load_each
from healscope.progress import track
from healscope.provenance import fingerprint
from healscope.tasks.generalpoints import GeneralPoints, from_row
from healscope.tasks.verdict import verify

CARRIED = ["problem_id", "pair_id", "deal_id", "split", "rule", "n_faces"]
JUDGED = ["outcome", "reward", "parsed", "follows_rule", "uses_numbers", "reaches_target"]


@dataclass(frozen=True)
class Target:
    """One output file: a variant on a task, what it came from, and columns that name it."""

    variant: str
    task: str
    file: str
    record: dict
    columns: dict

    def stands(self) -> bool:
        """Whether the file is there and came from exactly the same config and inputs."""
        stored = provenance.read_provenance(self.file)
        return stored is not None and stored["fingerprint"] == self.record["fingerprint"]


def respond(
    model, tokenizer, prompts: list[str], settings: Evaluation, stream: str = ""
) -> list[list[str]]:
    """`settings.samples` response texts to each prompt, in batches.

    `stream` names the random numbers, used only where temperature > 0.
    """
    ids = [tokens.prompt_ids(tokenizer, p) for p in prompts]
    n = settings.samples
    per_batch = max(1, settings.batch_size // n)
    texts: list[str] = []
    model.eval()
    for i in range(0, len(ids), per_batch):
        responses = generate(
            model,
            ids[i : i + per_batch],
            eos=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            samples=n,
            generator=seeded(settings.seed, stream, i) if settings.temperature > 0 else None,
        )
        texts += [tokens.response_text(tokenizer, t) for t in responses.ids()]
    return [texts[i * n : (i + 1) * n] for i in range(len(prompts))]


def judge(task: GeneralPoints, problems: pd.DataFrame, texts: list[list[str]]) -> pd.DataFrame:
    """One row for each problem and sample: the text, its verdict and the error decomposition."""
    rows = []
    for row, samples in zip(problems.to_dict("records"), texts, strict=True):
        problem = from_row(row)
        for sample, text in enumerate(samples):
            verdict = verify(task, problem, text)
            rows.append(
                {
                    **{c: row[c] for c in CARRIED},
                    "sample": sample,
                    "attempt": 1,
                    "text": text,
                    **{c: getattr(verdict, c) for c in JUDGED},
                    "correct": verdict.outcome == "correct",
                }
            )
    return pd.DataFrame(rows)


def evaluate(
    model,
    tokenizer,
    variants: Iterable[Variant],
    tasks: dict[str, tuple[GeneralPoints, pd.DataFrame]],
    targets: list[Target],
    settings: Evaluation,
    label: str,
) -> None:
    """Evaluates the variants whose targets do not stand yet; writes each target as it is done.

    `model` is the skeleton whose weights are replaced in place, one variant after the other.
    """
    missing = [t for t in targets if not t.stands()]
    names = {t.variant for t in missing}
    wanted = [v for v in variants if v.name in names]
    for name in track(load_each(model, wanted), label, len(wanted)):
        for target in (t for t in missing if t.variant == name):
            task, problems = tasks[target.task]
            stream = fingerprint(target.columns)  # model, seed, variant and task
            texts = respond(model, tokenizer, list(problems["prompt"]), settings, stream)
            rows = judge(task, problems, texts).assign(**target.columns)
            provenance.write_table(target.file, rows, target.record)


def format_error_rate(
    model, tokenizer, task: GeneralPoints, problems: pd.DataFrame, max_new_tokens: int
) -> float:
    """Share of greedy answers that do not parse (arXiv 2509.12235, Fig 2b)."""
    settings = Evaluation(max_new_tokens=max_new_tokens)
    texts = respond(model, tokenizer, list(problems["prompt"]), settings)
    return float(1 - judge(task, problems, texts)["parsed"].mean())
