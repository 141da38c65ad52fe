"""Teaches a rule that a text tells, from the model's own answers with the text and without.

Every problem is answered greedily with the text before it (chosen) and without (rejected), which
need not be right or wrong. With l the mean log-probability a token, of the text itself (k), of the
chosen answer after the text (c) and of the rejected one without it (r):

    rlag       L = -log sigmoid(b_k l(k) + b_a min(l(c), -0.2) - b_a max(l(r), -5) - gamma)
    told_sft   L = -log pi(c), a token, without the text
    told_text  L = -log pi(k), a token
    told_dpo   L = -log sigmoid(beta (log pi/pi_0 (c) - log pi/pi_0 (r))), both without the text

The first is the loss of RLAG as released (arXiv 2509.20162, repository ChaojunNie/RLAG), where an
answer is the likeliest option; (b_k, b_a) depend on whether both answers agree. With `given: bare`
l(c) is that without the text: of free answers nothing else says what to answer then. The others are
its controls, pi_0 the model at the start of a round. With `budget: tokens` all read as many: those
of text and both answers, `epochs` times a round; with `budget: steps` all take as many steps.

Shape suffixes: B rows.
"""

import copy
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from healscope.config import Taught
from healscope.engines.generate import generate, response_logprobs
from healscope.models import tokens
from healscope.tasks.tables import draw
from healscope.training import health, in_rounds
from healscope.training.branch import Branch
from healscope.training.optimization import adamw, scale
from healscope.training.references import distances
from healscope.training.sampling import PROMPTS_AT_ONCE
from healscope.training.turns import Pair, encode


class Answered(NamedTuple):
    """A problem with its two answers, as token ids; `right` says which of them are right."""

    text: Pair
    told: Pair
    bare: Pair
    right: tuple[bool, bool]

    @property
    def agree(self) -> bool:
        """Whether both answers are the same."""
        return self.told.response_ids == self.bare.response_ids

    @property
    def chosen_bare(self) -> Pair:
        """The chosen answer to the prompt without the text."""
        return Pair(self.bare.prompt_ids, self.told.response_ids)

    @property
    def read(self) -> int:
        """Tokens of the text and of both answers."""
        return sum(len(p.response_ids) for p in (self.text, self.told, self.bare))


def train(recipe: Taught, branch: Branch) -> list[dict]:
    """Run all rounds from `branch.start` and stage the checkpoint `branch.name`.

    Return one row for each round. Raises HealscopeError where the task has no such text, Diverged
    if a number is not finite any more, and Stopped on a signal.
    """
    pool = branch.deal("ood")

    def learn(model, tokenizer, others, r, iterations, rows, bar) -> dict:
        began = time.perf_counter()
        n = len(iterations) * recipe.responses // 2
        problems = draw(pool, n, np.random.default_rng([branch.seed, 4, r]))
        with health.finite_sampling(rows, branch.name):
            answered = answers(recipe, branch, model, tokenizer, problems)
        between = time.perf_counter()
        row = {
            "iteration": int(iterations[-1]) + 1,
            "correct_share": float(np.mean([a.right[1] for a in answered])),
            "told_correct_share": float(np.mean([a.right[0] for a in answered])),
            "agree_share": float(np.mean([a.agree for a in answered])),
            "generated_tokens": sum(a.read - len(a.text.response_ids) for a in answered),
            **_fit(recipe, branch, model, tokenizer, answered, int(iterations[0]), r),
            "sampling_seconds": between - began,
            "training_seconds": time.perf_counter() - between,
            **distances(others, model, tokenizer, [a.bare for a in answered], 1.0),
        }
        bar.update(len(iterations))
        bar.note(correct=row["correct_share"], told=row["told_correct_share"])
        return row

    return in_rounds.run(recipe, branch, learn)


def answers(recipe: Taught, branch: Branch, model, tokenizer, problems) -> list[Answered]:
    """Answer problems (rows of an RL pool) greedily, with the text that tells their rule and
    without."""
    task = branch.task
    posed = [task.read(row) for row in problems.to_dict("records")]
    texts = [task.told(problem, recipe.told) for problem in posed]
    bare = [tokens.prompt_ids(tokenizer, prompt) for prompt in problems["prompt"]]
    told = [
        tokens.prompt_ids(tokenizer, text.before(prompt))
        for text, prompt in zip(texts, problems["prompt"], strict=True)
    ]
    start = tokens.prompt_ids(tokenizer, "")
    found = []
    said = [_greedy(branch, model, tokenizer, prompts) for prompts in (told, bare)]
    ends = tokens.end_ids(tokenizer, tokens.model_ends(model))
    for i, problem in enumerate(posed):
        ids = [answers[i] for answers in said]
        written = [tokens.response_text(tokenizer, each, ends) for each in ids]
        right = tuple(task.verify(problem, text).outcome == "correct" for text in written)
        text = tokenizer.encode(texts[i].text, add_special_tokens=False)
        pairs = Pair(start, text), Pair(told[i], ids[0]), Pair(bare[i], ids[1])
        found.append(Answered(*pairs, right))
    return found


def _greedy(branch: Branch, model, tokenizer, prompts: list[list[int]]) -> list[list[int]]:
    model.eval()
    found = []
    for i in range(0, len(prompts), PROMPTS_AT_ONCE):
        found += generate(
            model,
            prompts[i : i + PROMPTS_AT_ONCE],
            eos=tokens.end_ids(tokenizer, tokens.model_ends(model)),
            pad=tokenizer.pad_token_id,
            max_new_tokens=branch.max_new_tokens,
        ).ids()
    return found


def rlag_loss(
    text_B: torch.Tensor,
    chosen_B: torch.Tensor,
    rejected_B: torch.Tensor,
    agree_B: torch.Tensor,
    recipe: Taught,
) -> torch.Tensor:
    """Return RLAG's loss of each row (B,), from mean log-probabilities a token in nats.

    Above `clip_chosen` a chosen answer, and below `clip_rejected` a rejected one, has no gradient.
    """
    weights_B2 = torch.where(
        agree_B[:, None], torch.tensor(recipe.weights.agree), torch.tensor(recipe.weights.differ)
    ).to(text_B.device)
    gap_B = chosen_B.clamp(max=recipe.clip_chosen) - rejected_B.clamp(min=recipe.clip_rejected)
    return -logsigmoid(weights_B2[:, 0] * text_B + weights_B2[:, 1] * gap_B - recipe.gamma)


def _fit(
    recipe: Taught, branch: Branch, model, tokenizer, answered: list[Answered], iteration: int,
    r: int,
) -> dict:  # fmt: skip
    """Train on the answers of a round, at the learning rate of `iteration`; return what is
    logged."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = adamw(recipe, trained)
    rate = recipe.optimizer.learning_rate * scale(recipe, iteration)
    for group in optimizer.param_groups:
        group["lr"] = rate
    reference = None
    if recipe.algorithm == "told_dpo":
        reference = copy.deepcopy(model).requires_grad_(False).eval()
    losses, norms, read = [], [], 0
    model.train()
    for batch in _batches(recipe, answered, np.random.default_rng([branch.seed, 6, r])):
        loss, n = batch_loss(recipe, model, tokenizer, batch, reference)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(trained, recipe.optimizer.max_grad_norm)))
        optimizer.step()
        losses.append(loss.item())
        read += n
    return {
        "policy_loss": float(np.mean(losses)),
        "gradient_norm": float(np.mean(norms)),
        "learning_rate": rate,
        "trained_tokens": read,
    }


def _batches(
    recipe: Taught, answered: list[Answered], rng: np.random.Generator
) -> Iterator[list[Answered]]:
    """Yield batches in passes, each in an order of its own, until as many tokens are read as
    `epochs` passes over texts and both answers have, or as many steps taken."""
    steps = recipe.budget == "steps"
    left = recipe.epochs * (len(answered) if steps else sum(a.read for a in answered))
    while left > 0:
        order = rng.permutation(len(answered))
        for i in range(0, len(order), recipe.batch_size):
            batch = [answered[j] for j in order[i : i + recipe.batch_size]]
            left -= len(batch) if steps else tokens_read(recipe, batch)
            yield batch
            if left <= 0:
                return


def tokens_read(recipe: Taught, batch: list[Answered]) -> int:
    """Count the tokens that a recipe learns from in a batch."""
    read = {
        "rlag": lambda a: a.read,
        "told_sft": lambda a: len(a.told.response_ids),
        "told_text": lambda a: len(a.text.response_ids),
        "told_dpo": lambda a: a.read - len(a.text.response_ids),
    }[recipe.algorithm]
    return sum(map(read, batch))


def batch_loss(
    recipe: Taught, model, tokenizer, batch: list[Answered], reference=None
) -> tuple[torch.Tensor, int]:
    """Return the loss of a batch, and how many tokens it reads; `reference` is that of told_dpo."""
    read = tokens_read(recipe, batch)
    if recipe.algorithm == "told_text":
        sums_B, counts_B = _logprobs(model, tokenizer, [a.text for a in batch])
        return -sums_B.sum() / counts_B.sum(), read
    if recipe.algorithm == "told_sft":
        sums_B, counts_B = _logprobs(model, tokenizer, [a.chosen_bare for a in batch])
        return -sums_B.sum() / counts_B.sum(), read
    if recipe.algorithm == "told_dpo":
        pairs = [[a.chosen_bare for a in batch], [a.bare for a in batch]]
        own = [_logprobs(model, tokenizer, p)[0] for p in pairs]
        with torch.no_grad():
            other = [_logprobs(reference, tokenizer, p)[0] for p in pairs]
        ratios = [a - b for a, b in zip(own, other, strict=True)]
        return -logsigmoid(recipe.beta * (ratios[0] - ratios[1])).mean(), read
    chosen = [a.told if recipe.given == "text" else a.chosen_bare for a in batch]
    kinds = [a.text for a in batch], chosen, [a.bare for a in batch]
    means = [
        sums_B / counts_B for sums_B, counts_B in (_logprobs(model, tokenizer, p) for p in kinds)
    ]
    agree_B = torch.tensor([a.agree for a in batch])
    return rlag_loss(*means, agree_B, recipe).mean(), read


def _logprobs(model, tokenizer, pairs: list[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed log-probability of each response (B,), and its tokens (B,)."""
    ids_BL, mask_BL, width, real_BT = encode(tokenizer, pairs, model.device)
    logps_BT, _ = response_logprobs(model, ids_BL, mask_BL, width)
    return (logps_BT * real_BT).sum(1), real_BT.sum(1)
