"""DPO and rejection sampling: rounds of sampling from the current model, then training.

TRL trains; problems, sampling and rewards are those of PPO, and all rounds together sample as many
responses. y+ and y- are a correct and a wrong response to the same prompt x, pi_0 the model at the
start of the round:

    dpo  L = -log sigmoid(beta (log pi/pi_0 (y+|x) - log pi/pi_0 (y-|x)))  (arXiv 2305.18290, eq. 7)
    rft  L = -log pi(y+|x), a token, on distinct y+ (arXiv 2308.01825)
"""

import copy
import time

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from healscope.config import DPO, RejectionSampling
from healscope.progress import Bar
from healscope.tasks.tables import draw
from healscope.training import health, in_rounds
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.optimization import adamw
from healscope.training.references import distances
from healscope.training.trainers import (
    arguments,
    at_once,
    fit,
    means,
    scheduled,
)
from healscope.training.turns import Turn, summary


def train(recipe: DPO | RejectionSampling, branch: Branch) -> list[dict]:
    """Run all rounds from `branch.start` and stage the checkpoint `branch.name`.

    Return one row for each round; its `iteration` is that of PPO with as many samples. A round
    that finds nothing to learn from trains nothing: its `trained_tokens` are 0. Raises Diverged if
    a number is not finite any more, and Stopped on a signal.
    """

    def learn(model, tokenizer, others, r, iterations, rows, bar) -> dict:
        began = time.perf_counter()
        turns, sampled = _sample(recipe, branch, model, tokenizer, iterations, rows, bar)
        between = time.perf_counter()
        learned = examples(recipe, turns)
        order = np.random.default_rng([branch.seed, 6, r]).permutation(len(learned))
        data = [learned[i] for i in order]
        row = {
            "iteration": sampled,
            **summary(turns, recipe.samples_per_prompt),
            **_fit(recipe, branch, model, tokenizer, data, int(iterations[0])),
            "sampling_seconds": between - began,
            "training_seconds": time.perf_counter() - between,
            **distances(others, model, tokenizer, turns, recipe.temperature),
        }
        bar.note(reward=row["reward_mean"], correct=row["correct_share"])
        return row

    return in_rounds.run(recipe, branch, learn)


def _sample(
    recipe, branch: Branch, model, tokenizer, iterations, rows: list[dict], bar: Bar
) -> tuple[list[Turn], int]:
    """Sample these iterations, or until the budget is spent; return turns and iterations done."""
    pool, sampler = branch.prompt_pool(recipe), branch.sampler(recipe)
    turns: list[Turn] = []
    done = int(iterations[0])
    for i in map(int, iterations):
        problems = draw(pool, recipe.prompts, np.random.default_rng([branch.seed, 4, i]))
        with health.finite_sampling(rows, branch.name):
            turns += sampler.sample(model, tokenizer, problems, (branch.seed, 5, i))
        bar.update()
        done = i + 1
        generated = sum(len(t.response_ids) for t in turns)
        if health.spent([*rows, {"generated_tokens": generated}], recipe):
            break
    return turns, done


def examples(recipe: DPO | RejectionSampling, turns: list[Turn]) -> list[dict]:
    """Return what a round learns from, as token ids, in the columns that TRL's trainer reads."""
    if recipe.algorithm == "dpo":
        return [
            {
                "prompt_ids": chosen.prompt_ids,
                "chosen_ids": chosen.response_ids,
                "rejected_ids": rejected.response_ids,
            }
            for chosen, rejected in pairs(turns)
        ]
    correct = [t for t in turns if t.verdict.outcome == "correct"]
    distinct = {(tuple(t.prompt_ids), tuple(t.response_ids)): t for t in correct}
    return [
        {
            "input_ids": t.prompt_ids + t.response_ids,
            "labels": [-100] * len(t.prompt_ids) + t.response_ids,
        }
        for t in distinct.values()
    ]


def pairs(turns: list[Turn]) -> list[tuple[Turn, Turn]]:
    """(chosen, rejected): a correct response and a wrong one to the same problem, paid less.

    No response is in two pairs, and there are as many pairs as can be made so.
    """
    by_problem: dict[str, list[Turn]] = {}
    for turn in turns:
        by_problem.setdefault(turn.problem.problem_id, []).append(turn)
    found = []
    for answers in by_problem.values():
        answers = sorted(answers, key=lambda t: t.reward)
        wrong = [t for t in answers if t.verdict.outcome != "correct"]
        for turn in answers:  # the least paid correct one takes the least paid wrong one
            if turn.verdict.outcome == "correct" and wrong and wrong[0].reward < turn.reward:
                found.append((turn, wrong.pop(0)))
    return found


class _DPO(DPOTrainer):
    def _prepare_dataset(self, dataset, *_):
        return dataset  # it holds token ids already; TRL would tokenise text


class _Logs(TrainerCallback):
    """Collects what is logged at each step."""

    def __init__(self):
        self.steps: list[dict] = []

    def on_log(self, _args, _state, _control, logs=None, **_):
        if "loss" in (logs or {}):
            self.steps.append(logs)


def _fit(recipe, branch: Branch, model, tokenizer, data: list[dict], iteration: int) -> dict:
    """Train one pass over `data` at the learning rate of `iteration`; return what is logged."""
    if not data:
        return {"trained_tokens": 0}
    logs = _Logs()
    dpo = recipe.algorithm == "dpo"
    rows = at_once(recipe.batch_size, ROWS_AT_ONCE // (2 if dpo else 1))
    settings = {
        **arguments(recipe, branch),
        "num_train_epochs": 1,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": recipe.batch_size // rows,
        "train_sampling_strategy": "sequential",  # `data` is in random order already
        "max_length": None,
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    common = {
        "model": model,
        "train_dataset": Dataset.from_list(data),
        "processing_class": tokenizer,
        "callbacks": [logs],
        "optimizers": scheduled(recipe, adamw(recipe, trained), lambda _: iteration),
    }
    if dpo:
        reference = copy.deepcopy(model).requires_grad_(False)
        trainer = _DPO(ref_model=reference, args=DPOConfig(**settings, beta=recipe.beta), **common)
    else:
        args = SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True})
        trainer = SFTTrainer(args=args, **common)
    fit(trainer)
    # TRL has replaced the model's forward; the next round has to copy the plain model
    vars(model).pop("forward", None)
    read = ("chosen_ids", "rejected_ids") if dpo else ("labels",)
    learned = (i for example in data for column in read for i in example[column])
    return {**means(logs.steps), "trained_tokens": sum(i != -100 for i in learned)}
