"""What answers conclude when they are begun otherwise: forced continuations.

The model answers greedily; then what it said before its conclusion is changed (`Task.intervene`)
and put before it as its own, and it goes on from there. Unchanged, it has to conclude what it did:
that is the floor of all interventions.
"""

import pandas as pd

from healscope import artifacts
from healscope.config import Evaluation, Study
from healscope.measuring import Cost, Inputs
from healscope.schema import RUN_SEED, TRACK, Schema, flag, text
from healscope.tasks import build
from healscope.tasks.schemas import problem_columns
from healscope.tasks.tables import rules_differ

NAME, REWARDS = "faithfulness", "what-breaks"
"""The findings that ask for it: along training, and under each reward."""

UNFORCED = ""
"""`intervention` of the answer that the model gives by itself."""

TABLES = {"problems": artifacts.PROBLEMS}

SCHEMA = Schema(
    "interventions-probe",
    artifacts.probe("interventions"),
    "One answer of a checkpoint to a problem: its own, or one that was begun for it.",
    (
        text("checkpoint", "name of the checkpoint"),
        *problem_columns(("problem_id", "instance_id", "half", "rule")),
        text("intervention", "what was done to the answer's beginning; empty: nothing, its own"),
        text("text", "the whole answer, with what it was begun with"),
        text("solution", "name of the solution that it states; missing where it states none", True),
        flag("correct", "its own answer is right: of all answers of the row's problem"),
        flag("comparable", "it has numbers that its conclusion could use"),
        flag("follows", "its conclusion uses the numbers that it states, each once"),
        TRACK,
        RUN_SEED,
    ),
    ("checkpoint", "problem_id", "intervention"),
)


def reads(study: Study) -> list[str]:
    """Return the checkpoints of SFT and of the main recipe, and branches that differ from it in
    their reward alone, as far as the study asks."""
    found = []
    if NAME in study.claims.systems:
        found += [*study.sft_checkpoints(), *study.main_branches]
    if REWARDS in study.claims.systems:
        found += [artifacts.sft(study.end_step), *study.rewards_alone]
    return list(dict.fromkeys(found))


def settings(study: Study, track: str) -> dict:
    task = study.tasks[study.task_of(track)]
    return {
        "problems": study.hidden_states.problems,
        "task": task.model_dump(mode="json", exclude={"rewards"}),
        "max_new_tokens": study.evaluation.max_new_tokens,
    }


def cost(study: Study) -> Cost:
    """Answers under both rules, by itself and after each of about five interventions."""
    n = len(reads(study))
    return Cost(loads=n, sequences=n * 2 * 6 * study.hidden_states.problems)


def measure(inputs: Inputs, settings: dict, seed: int, label: str) -> pd.DataFrame:
    """Return the answers of every checkpoint to held-out problems where the rules differ."""
    from healscope.models import checkpoints
    from healscope.models.variants import from_checkpoint, load_each
    from healscope.progress import track

    task = build("train", settings["task"])
    problems = inputs.tables["problems"]
    held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
    chosen = held_out.groupby("rule").head(settings["problems"]).reset_index(drop=True)
    manifests = list(inputs.checkpoints.items())
    model, tokenizer = checkpoints.load_model(manifests[0][1])
    variants = [from_checkpoint(name, manifest) for name, manifest in manifests]
    variants = [variant for variant in variants if not variant.failed]
    asked = Evaluation(max_new_tokens=settings["max_new_tokens"])
    frames = []
    for variant in track(load_each(model, variants, {}), label, len(variants)):
        answers = of_model(model, tokenizer, task, chosen, asked, seed)
        frames.append(answers.assign(checkpoint=variant.name))
    return pd.concat(frames, ignore_index=True)


def of_model(
    model, tokenizer, task, chosen: pd.DataFrame, asked: Evaluation, seed: int
) -> pd.DataFrame:
    """Return a model's own answers, and those after each intervention that can be made."""
    import numpy as np

    from healscope.config import Protocol
    from healscope.engines import HF
    from healscope.evaluation.attempts import Asker

    ask = Asker(HF(model), tokenizer, asked, Protocol(), "", reasoning=task.reasoning)
    rows = chosen.to_dict("records")
    posed = [task.read(row) for row in rows]
    own = [said or "" for said in ask([[row["prompt"]] for row in rows], "", 0.0)]
    right = [task.verify(p, t).outcome == "correct" for p, t in zip(posed, own, strict=True)]
    found = [_row(task, *row, UNFORCED) for row in zip(rows, posed, own, right, strict=True)]
    for number, kind in enumerate(task.interventions):
        rng = np.random.default_rng([seed, 11, number])
        starts = [task.intervene(p, t, kind, rng) for p, t in zip(posed, own, strict=True)]
        some = [i for i, start in enumerate(starts) if start is not None]
        prompts, begun = [[rows[i]["prompt"]] for i in some], [starts[i] for i in some]
        texts = ask(prompts, "", 0.0, begun)
        found += [
            _row(task, rows[i], posed[i], said or "", right[i], kind)
            for i, said in zip(some, texts, strict=True)
        ]
    return pd.DataFrame(found)


def _row(task, row: dict, problem, said: str, right: bool, kind: str) -> dict:
    comparable, follows = task.numbers_used(problem, said)
    return {
        **{c: row[c] for c in ("problem_id", "instance_id", "half", "rule")},
        "intervention": kind, "text": said, "solution": task.solution(problem, said),
        "correct": right, "comparable": comparable, "follows": comparable and follows,
    }  # fmt: skip
