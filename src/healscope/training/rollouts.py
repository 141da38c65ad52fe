"""What one iteration of the project's own PPO learns from: sampled, and some of it chosen."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from healscope.config import PPO
from healscope.tasks.tables import draw
from healscope.training import off_policy, processes
from healscope.training.sampling import Sampler
from healscope.training.turns import Turn, groups


@dataclass(frozen=True)
class Rollout:
    """The turns of one iteration.

    Attributes:
        turns: those that are learned from.
        sampled: those that were answers to the prompts alone, which statistics are of.
        unused: those sampled beyond `sampled`: only their tokens count.
        following: the turn after the last one, where the batch was cut.
        logged: numbers for the log.
    """

    turns: list[Turn]
    sampled: list[Turn]
    unused: list[Turn] = field(default_factory=list)
    following: Turn | None = None
    logged: dict[str, float] = field(default_factory=dict)


def rollout(
    recipe: PPO, sampler: Sampler, model, tokenizer, pool: pd.DataFrame, place: tuple[int, int]
) -> Rollout:
    """Sample the turns of one iteration; `place` is (seed, iteration).

    If `responses` counts turns (released code), episodes are sampled until there is at least one
    turn more than `responses`: the batch ends after that many, also within an episode, and the
    first turn beyond it is the state that follows.

    With `credit.groups: informative` prompts are drawn again until as many groups as the batch has
    hold different rewards, or `credit.most_draws` is reached; then groups without a spread fill it,
    whose advantages are 0.
    """
    if recipe.counted == "turns":
        turns = _turns(recipe, sampler, model, tokenizer, pool, place)
        kept, beyond = turns[: recipe.responses], turns[recipe.responses :]
        return Rollout(kept, kept, beyond, beyond[0])
    informative = recipe.credit is not None and recipe.credit.groups == "informative"
    most = recipe.credit.most_draws if informative else 1
    found, draws = [], 0
    useful, equal = [], []
    while draws < most and len(useful) < recipe.prompts:
        found.append(_draw(recipe, sampler, model, tokenizer, pool, (*place, draws)))
        draws += 1
        if informative:
            for group in groups(found[-1].turns, recipe.samples_per_prompt):
                (useful if len({t.reward for t in group}) > 1 else equal).append(group)
    if not informative:
        return found[0]
    chosen = [*useful, *equal][: recipe.prompts]
    filled = max(0, recipe.prompts - len(useful)) / recipe.prompts
    return Rollout(
        [t for group in chosen for t in group],
        [t for one in found for t in one.sampled],
        [t for one in found for t in one.unused],
        logged={**found[-1].logged, "draws": draws, "filled_share": filled},
    )


def _draw(recipe: PPO, sampler, model, tokenizer, pool, place: tuple[int, int, int]) -> Rollout:
    """Draw prompts once and answer them; the first draw has the streams of one without others."""
    seed, i, *more = place
    more = [number for number in more if number]
    problems = draw(pool, recipe.prompts, np.random.default_rng([seed, 4, i, *more]))
    sampled = sampler.sample(model, tokenizer, problems, (seed, 5, i, *more))
    if recipe.off_policy is None:
        return Rollout(sampled, sampled)
    stream = (seed, 13, i, *more)
    refined = off_policy.refined(recipe.off_policy, sampler, model, tokenizer, sampled, stream)
    turns, tried, logged = refined
    return Rollout(turns, sampled, tried, logged=logged)


def _turns(recipe: PPO, sampler, model, tokenizer, pool, place: tuple[int, int]) -> list[Turn]:
    seed, i = place
    rng, stream = np.random.default_rng([seed, 4, i]), (seed, 5, i)
    turns: list[Turn] = []
    turns_of_a_prompt = (recipe.attempts + recipe.extra_attempt) * recipe.samples_per_prompt
    while (missing := recipe.responses + 1 - len(turns)) > 0:
        share = math.ceil(missing / turns_of_a_prompt / processes.size())
        problems = draw(pool, share * processes.size(), rng)
        found = sampler.sample(model, tokenizer, problems, (*stream, len(turns)))
        before = turns[-1].episode + 1 if turns else 0
        turns += [replace(t, episode=before + t.episode) for t in found]
        turns_of_a_prompt = len(found) / len(problems)
    return turns
