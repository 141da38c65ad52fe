"""The checks of a task. Each yields a sentence for every failure; its docstring says what holds."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from healscope.provenance import fingerprint
from healscope.tasks import build, task_settings
from healscope.tasks.contract import hostile
from healscope.tasks.contract.subject import SOME, Subject, TooSlow, at_most, raised, short, spread
from healscope.tasks.pretraining import Pretraining
from healscope.tasks.problem import FORMATS, LEVELS, SIDES, Feedback, Verdict
from healscope.tasks.responses import MAX_RESPONSE, READ_RESPONSES
from healscope.tasks.task import Task


def problems(subject: Subject) -> Iterator[str]:
    """There are problems of both rules, each with an id of its own."""
    for rule in SIDES:
        if not subject.problems[rule] and (subject.task.trainable or not subject.all):
            yield f'problems("{rule}") yields none'
        for problem in subject.problems[rule]:
            if problem.rule != rule:
                yield f'{problem.problem_id}: problems("{rule}") yields it, and its rule is another'
    counted = Counter(problem.problem_id for problem in subject.all)
    for problem_id, times in counted.items():
        if times > 1:
            yield (
                f"{problem_id}: {times} problems have this id; number the problems of an instance "
                "(part), or call instances differently"
            )


def plain_data(subject: Subject) -> Iterator[str]:
    """Data is plain JSON, and a problem read from the tables is the problem that was written."""
    for problem in subject.all:
        data = getattr(problem, "data", {})  # the card game's own problems have columns instead
        try:
            back = json.loads(json.dumps(dict(data), allow_nan=False))
        except (TypeError, ValueError) as error:
            yield f"{problem.problem_id}: its data is no JSON ({error})"
            continue
        if back != data:
            yield (
                f"{problem.problem_id}: its data comes back as another from JSON: "
                f"{short(data)} as {short(back)} (lists, not tuples; text as keys)"
            )
    for row in spread(subject.task.problem_table().to_dict("records"), SOME):
        again = subject.task.read(row)
        same = (again.problem_id, subject.task.prompt(again), subject.answer(again))
        if same != (row["problem_id"], row["prompt"], row["response"]):
            yield f"{row['problem_id']}: read from its row it is another one, {short(same)}"


def prompts(subject: Subject) -> Iterator[str]:
    """Every problem has a prompt of its own, which is the first of its paraphrases."""
    first: dict[str, str] = {}
    for problem in subject.all:
        text = subject.task.prompt(problem)
        if not (isinstance(text, str) and text.strip()):
            yield f"{problem.problem_id}: its prompt is {text!r}; it must be text"
            continue
        other = first.setdefault(text, problem.problem_id)
        if other != problem.problem_id and not subject.task.of_files:
            yield (
                f"{problem.problem_id}: the same prompt as {other}, {short(text)}; a prompt must "
                "say all that the answer depends on, the rule too"
            )
        if subject.task.rendering == "compact" and text != " ".join(text.split()):
            yield f"{problem.problem_id}: compact words stand one space apart, not {short(text)}"
    for problem in subject.some:
        paraphrases = list(subject.task.paraphrases(problem))
        if paraphrases[:1] != [subject.task.prompt(problem)]:
            yield f"{problem.problem_id}: the first of its paraphrases is not its prompt"
        if not all(isinstance(text, str) and text.strip() for text in paraphrases):
            yield f"{problem.problem_id}: one of its paraphrases is no text"


def reference_answers(subject: Subject) -> Iterator[str]:
    """Every reference answer is judged correct, and so is any other that the task calls correct."""
    for problem in subject.all:
        if not subject.answer(problem) and (not subject.task.trainable or subject.task.of_files):
            continue  # nobody knows one
        verdict = subject.verify(problem, subject.answer(problem))
        if verdict.outcome != "correct":
            yield (
                f"{problem.problem_id}: its own answer {short(subject.answer(problem))} is judged "
                f"{verdict.outcome}"
            )
    for problem in subject.some:
        reference, *others = subject.task.answers(problem)
        if not subject.task.canonical(problem, reference):
            yield f"{problem.problem_id}: canonical() is False of its own answer"
        for text in others:
            if (verdict := subject.verify(problem, text)).outcome != "correct":
                yield (
                    f"{problem.problem_id}: {short(text)} is one of answers() and judged "
                    f"{verdict.outcome}"
                )


def other_answers(subject: Subject) -> Iterator[str]:
    """Answers of other problems are mostly not correct, and nothing at all never is."""
    rng = random.Random(0)
    right, asked = [], 0
    for problem in subject.some:
        own = subject.answer(problem)
        others = {subject.answer(p) for p in rng.sample(subject.some, min(8, len(subject.some)))}
        for text in sorted(others - {own}):
            asked += 1
            if subject.verify(problem, text).outcome == "correct":
                right.append(f"{short(text)} of {problem.problem_id} (its own is {short(own)})")
        if subject.verify(problem, "").outcome == "correct":
            yield f"{problem.problem_id}: an empty response is judged correct"
    if not asked and subject.task.trainable:
        yield "all problems have the same answer: there is nothing to learn"
    elif asked and 2 * len(right) >= asked:
        yield (
            f"{len(right)} of {asked} answers of other problems are judged correct, as "
            f"{right[0]}; the verifier must compare with the problem"
        )


def rules(subject: Subject) -> Iterator[str]:
    """Where problems stand under both rules, the ID answer is not always right under both."""
    id_answers = {p.pair_id: subject.answer(p) for p in subject.problems["id"]}
    paired = [p for p in subject.problems["ood"] if p.pair_id in id_answers]
    differing = (p for p in paired if subject.verify(p, id_answers[p.pair_id]).outcome != "correct")
    if paired and next(differing, None) is None:
        yield (
            f"the ID answer is right under the OOD rule of all {len(paired)} pairs, as of "
            f"{paired[0].problem_id}: the rules ask for the same"
        )


def verdicts(subject: Subject) -> Iterator[str]:
    """Every verdict has an outcome of the task's list, and that one's reward or, if wrong, less."""
    task = subject.task
    rewards = {**task.outcomes, **task.rewards}
    seen: set[str] = set()
    for problem in subject.some:
        others = [subject.answer(p) for p in subject.some[:SOME:4]]
        mutated = hostile.mutations(subject.answer(problem), others, seed=1, n=20)
        for text in (subject.answer(problem), *others, "", *mutated):
            try:
                verdict = subject.verify(problem, text)
            except (Exception, TooSlow):
                continue  # `hostile_text` says so
            if not isinstance(verdict, Verdict):
                said = f"a {type(verdict).__name__}, no Verdict; return self.verdict(outcome)"
            elif verdict.outcome not in task.outcomes:
                known = ", ".join(task.outcomes)
                said = f"outcome {verdict.outcome!r}, which is not in its outcomes ({known})"
            elif verdict.reward != rewards[verdict.outcome] and (
                verdict.outcome == "correct" or not verdict.reward < rewards[verdict.outcome]
            ):
                paid = rewards[verdict.outcome]
                said = f"{verdict.outcome} with reward {verdict.reward}, which should be {paid}"
            elif not isinstance(verdict.parsed, bool):
                said = f"parsed {verdict.parsed!r}, which must be True or False"
            else:
                continue
            if said not in seen:
                seen.add(said)
                yield f"{problem.problem_id}: the verdict on {short(text)} is {said}"


def hostile_text(subject: Subject) -> Iterator[str]:
    """No text makes a method that reads it raise or hang, and rubbish is never correct."""
    first = next(iter(subject.some), None)
    for problem in subject.some:
        own = subject.answer(problem)
        others = [subject.answer(p) for p in subject.some[:4]]
        some = list(hostile.mutations(own, others, seed=2))
        if problem in subject.few:
            some += subject.hostile
        seen: set[str] = set()
        for text in some:
            try:
                verdict = subject.verify(problem, text)
            except TooSlow:
                yield (
                    f"{problem.problem_id}: the verifier is still at work after "
                    f"{subject.patience:g} s on {short(text)} ({len(text)} characters)"
                )
                return
            except Exception as error:
                said = raised(error)
                if said not in seen:
                    seen.add(said)
                    yield f"{problem.problem_id}: verify() raised {said} on {short(text)}"
                continue
            if text in hostile.RUBBISH and verdict.outcome == "correct":
                yield f"{problem.problem_id}: {short(text)} is judged correct"
            if problem not in subject.few or (len(text) > MAX_RESPONSE and problem != first):
                continue
            for method in _readers(verdict):
                try:
                    subject.read(method, problem, text)
                except (Exception, TooSlow) as error:
                    said = f"{method}() raised {raised(error)}"
                    if said not in seen:
                        seen.add(said)
                        yield f"{problem.problem_id}: {said} on {short(text)}"
                    if isinstance(error, TooSlow):
                        return


def _readers(verdict: Verdict) -> list[str]:
    """Return the methods of a task that read a response with this verdict, less `verify`; check
    `feedback` is about the others."""
    never = {"verify", "hint", *(() if verdict.outcome == "correct" else ("canonical",))}
    return [name for name, place in READ_RESPONSES.items() if place == 1 and name not in never]


def long_text(subject: Subject) -> Iterator[str]:
    """A response longer than MAX_RESPONSE is no answer, whatever it says: so work is bounded."""
    for problem in subject.some:
        answer = subject.answer(problem)
        behind = "\n" * MAX_RESPONSE + answer
        # a harness may read the beginning of a long response, and is bounded too
        for text in (behind, answer + " " * MAX_RESPONSE) if subject.task.trainable else (behind,):
            if answer and subject.verify(problem, text).outcome == "correct":
                yield (
                    f"{problem.problem_id}: correct with {len(text)} characters; begin verify() "
                    "with: if len(text) > MAX_RESPONSE: return no answer"
                )
                break


def hold_out(subject: Subject) -> Iterator[str]:
    """The hold-out is the same each time, of the share asked for, and parts the tables."""
    task = subject.task
    splits = task.splits()
    again = build(task.name, task_settings(dict(subject.section))).splits()
    if dict(again) != dict(splits):
        yield "splits() of the same task are not the same each time; draw by self.stream(...)"
    if unknown := sorted({str(s) for s in splits.values()} - {"train", "held_out"}):
        yield f"splits() has {', '.join(unknown)}; a side is train or held_out"
        return  # no table can be made of other sides
    held = sum(side == "held_out" for side in splits.values())
    if (
        splits
        and not task.split_by_files
        and abs(held / len(splits) - task.held_out) > 0.05 + 1 / len(splits)
    ):
        yield f"{held} of {len(splits)} instances are held out, not the share {task.held_out:g}"
    table = task.problem_table()
    hidden = set(table.loc[table["split"] == "held_out", "instance_id"])
    for name, pool in (("SFT", task.sft_table()), ("RL", task.rl_table())):
        if both := sorted(hidden & set(pool["instance_id"])):
            yield f"{both[0]}: held out, and in what {name} draws from"
        if wrong := sorted(set(pool["rule"]) - {"id"}):
            yield f"{name} draws from rule {wrong[0]}; only ID is trained on"


def same_everywhere(subject: Subject) -> Iterator[str]:
    """Processes whose hashes differ make the same problems, prompts, answers and words."""
    here = [list(line) for line in described(subject.task)]
    for seed in ("1", "2"):
        there = _elsewhere(subject.section, seed)
        if isinstance(there, str):
            yield f"in a process of its own the task cannot be made: {there}"
            return
        if there != here:
            pairs = zip(here, there, strict=False)
            unlike = next((a[0] for a, b in pairs if a != b), "how many there are")
            yield (
                f"{unlike}: not the same in another process; draw by self.stream(...), and sort "
                "what comes from a set or from hash()"
            )
            return


def vocabulary(subject: Subject) -> Iterator[str]:
    """Words of the compact rendering cover prompts in all layouts, answers and paraphrases."""
    if subject.task.rendering != "compact":
        return
    words = list(subject.task.words())
    for word, times in Counter(words).items():
        if times > 1 or word != "".join(word.split()) or not word:
            yield f"{word!r}: words() must give each word once, without spaces"
    missing: dict[str, str] = {}
    for problem in subject.all:
        for text in (subject.task.prompt(problem), subject.answer(problem)):
            _note_missing(missing, subject.words, text, problem.problem_id)
    for problem in subject.some:
        texts = [subject.task.prompt(problem, token) for token in FORMATS]
        texts += [subject.task.layout(problem, subject.answer(problem), f) for f in FORMATS]
        for text in (*texts, *subject.task.paraphrases(problem), *subject.task.answers(problem)):
            _note_missing(missing, subject.words, text, problem.problem_id)
    for word, problem_id in missing.items():
        yield f"{problem_id}: {word!r} is not in words(); add it there"


def feedback(subject: Subject) -> Iterator[str]:
    """Feedback of every level is text that the model can read, whatever was answered."""
    words = subject.words if subject.task.rendering == "compact" else None
    told: set[str] = set()
    for problem in subject.some:
        texts = [subject.answer(p) for p in subject.some[:8]]
        texts += ["", *hostile.FIXED[:: 1 if problem in subject.few else 8]]
        texts += hostile.mutations(subject.answer(problem), texts[:8], seed=3, n=5)
        for text in texts:
            for said in _of_feedback(subject, problem, text, words):
                if said not in told:
                    told.add(said)
                    yield f"{problem.problem_id}: after {short(text)} {said}"


def pretraining(subject: Subject) -> Iterator[str]:
    """What a model from scratch reads is text it has words for, the same from the same seed."""
    import numpy as np

    task = subject.task
    if not task.trainable:
        return
    for kind in task.rule_kinds:
        for i in range(SOME):
            problem = task.draw(kind, np.random.default_rng(i))
            if subject.verify(problem, subject.answer(problem)).outcome != "correct":
                yield f"{problem.problem_id}: drawn for {kind!r}, its own answer is not correct"
                break
    settings, missing = Pretraining(), {}
    for talks in (False, True) if task.rendering == "compact" else (False,):
        first, second = (
            task.examples(SOME, np.random.default_rng(0), settings, talks) for _ in range(2)
        )
        if first != second:
            yield "examples() are not the same from the same seed; draw by the rng that is passed"
        for turns, response in first:
            if len(turns) != (3 if talks else 1) or not all(
                isinstance(text, str) and text for text in (*turns, response)
            ):
                yield f"{short((turns, response))} is no example: texts, none of them empty"
            elif task.rendering == "compact":
                for text in (*turns, response):
                    _note_missing(missing, subject.words, text, short(text))
    for text in task.neutral_prompts(SOME, seed=0):
        if not (isinstance(text, str) and text.strip()):
            yield f"{short(text)} is one of neutral_prompts() and no text"
        elif task.rendering == "compact":
            _note_missing(missing, subject.words, text, short(text))
    for word, text in missing.items():
        yield f"{text}: {word!r} is not in words(); add it there"


CHECKS: tuple[Callable[[Subject], Iterable[str]], ...] = (
    problems,
    plain_data,
    prompts,
    reference_answers,
    other_answers,
    rules,
    verdicts,
    hostile_text,
    long_text,
    hold_out,
    same_everywhere,
    vocabulary,
    feedback,
    pretraining,
)


def described(task: Task) -> Iterator[tuple[str, str]]:
    """Yield (name, digest) of everything that must be the same in every process."""
    for rule in SIDES:
        for problem in task.problems(rule):
            yield problem.problem_id, fingerprint([task.prompt(problem), task.answers(problem)[0]])
    yield "splits()", fingerprint(list(task.splits().items()))
    if task.rendering == "compact":
        yield "words()", fingerprint(list(task.words()))


_THERE = """
import json, sys
from healscope.tasks import build, task_settings
from healscope.tasks.contract.checks import described
task = build("elsewhere", task_settings(json.load(sys.stdin)))
print(json.dumps(list(described(task))))
"""


def _elsewhere(section: Mapping[str, Any], hash_seed: str) -> list | str:
    """Run `described` in a fresh process; returns its last line of output if it fails."""
    here = str(Path(__file__).resolve().parents[3])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _THERE],
        input=json.dumps(dict(section)),
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return (done.stderr.strip().splitlines() or ["it left no message"])[-1]


def _of_feedback(subject: Subject, problem, text: str, words: set[str] | None) -> Iterator[str]:
    """Yield what is wrong with the feedback to one response."""
    task = subject.task
    try:
        verdict = subject.verify(problem, text)
    except (Exception, TooSlow):
        return  # `hostile_text` says so
    try:
        with at_most(subject.patience):
            credit, canonical = task.progress(problem, text), task.canonical(problem, text)
    except (Exception, TooSlow) as error:
        yield f"progress() or canonical() raised {raised(error)}"
        return
    if not 0 <= credit <= 1:
        yield f"progress() is {credit!r}, which must lie between 0 and 1"
    if not isinstance(canonical, bool):
        yield f"canonical() is {canonical!r}, which must be True or False"
    for level in LEVELS:
        if verdict.outcome == "correct" and level != "none":
            continue
        try:
            with at_most(subject.patience):
                said = task.feedback(problem, verdict, text, level)
                turn = task.follow_up(problem, said.message)
        except (Exception, TooSlow) as error:
            yield f"feedback of level {level!r} raised {raised(error)}"
            continue
        if not (isinstance(said, Feedback) and isinstance(turn, str) and said.message.strip()):
            yield f"feedback of level {level!r} is {short(said)}, no message"
        elif words is not None and (unknown := sorted(set(turn.split()) - words)):
            yield f"feedback of level {level!r} has {unknown[0]!r}, which is not in words()"


def _note_missing(missing: dict[str, str], words: set[str], text: str, where: str) -> None:
    for word in text.split():
        if word not in words:
            missing.setdefault(word, where)
