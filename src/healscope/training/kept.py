"""Keeps some of the responses that RL samples, for what is asked about them later.

A recipe with `keep_answers` writes them as they come, an iteration a file, into its state folder: a
run that is killed and goes on writes the same files again. Its checkpoint then holds all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from healscope import artifacts, provenance
from healscope.models import tokens
from healscope.tasks.responses import Marks
from healscope.training import processes
from healscope.training.schemas import ANSWERS
from healscope.training.turns import Turn


@dataclass(frozen=True)
class Keeper:
    """Writes the turns of every `every`-th iteration to `folder`, a file for each call of `add`."""

    folder: Path
    every: int

    def add(
        self,
        tokenizer,
        turns: list[Turn],
        iteration: int,
        part: Sequence[int],
        reasoning: Sequence[Marks] = (),
    ) -> None:
        """Write the turns of `iteration` (from 0), if it is one to keep: the first is.

        `part` names them among those of the iteration; `reasoning` are the marks of the task.
        """
        if iteration % self.every or not processes.first():
            return
        self.folder.mkdir(exist_ok=True)
        rows = [
            {
                "iteration": iteration + 1,
                "problem_id": turn.problem.problem_id,
                "attempt": turn.attempt,
                "text": turn.text,
                "outcome": turn.verdict.outcome,
                "correct": turn.success,
                "reward": turn.reward,
                "logprobs": turn.logprobs,
                "token_ends": token_ends(tokenizer, turn, reasoning),
            }
            for turn in turns
        ]
        name = "-".join(f"{n:06d}" for n in (iteration, *part))
        file = self.folder / f"{name}.parquet"
        pd.DataFrame(rows).to_parquet(file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)


def token_ends(tokenizer, turn: Turn, reasoning: Sequence[Marks] = ()) -> list[int]:
    """Return how many characters of a turn's text there are up to the end of each token.

    A token that ends within a letter has the end of the text before that letter. A mark of
    `reasoning` that the prompt ends with stands in the text before the first token.
    """
    before = tokens.response_text(tokenizer, [], reasoning=reasoning, prompt=turn.prompt_ids)
    ends = []
    for n in range(1, len(turn.response_ids) + 1):
        ids = turn.response_ids[:n]
        so_far = before + tokens.response_text(tokenizer, ids, reasoning=reasoning)
        ends.append(min(len(so_far.rstrip("\N{REPLACEMENT CHARACTER}")), len(turn.text)))
    return ends


def folder(state: Path) -> Path:
    """Return where a run with this state folder keeps responses."""
    return state / "answers"


def join(state: Path, into: Path, record: dict, track: str, seed: int) -> None:
    """Write all responses that a run has kept as one table in the folder `into`; none, no table."""
    # by stem: with the suffix, what was drawn next ("-000001") would come before what was first
    parts = sorted(folder(state).glob("*.parquet"), key=lambda file: file.stem)
    if not parts:
        return
    frame = pd.concat([pd.read_parquet(file) for file in parts], ignore_index=True)
    frame["answer"] = frame.groupby("iteration").cumcount()
    frame = frame.assign(track=track, seed=seed)
    provenance.write_table(into / Path(artifacts.ANSWERS).name, frame, record, ANSWERS)
