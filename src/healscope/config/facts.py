"""What tables and figures are told of recipes and tracks: plain values, no more than they use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from healscope.config.rl import RL, Average, Recipe, Rewarded, Sampling, Supervised

if TYPE_CHECKING:
    from healscope.config import Study


def track_facts(study: Study, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """name -> model, task and family of the task, of tracks."""
    found = {}
    for name in names:
        track = study.tracks[name]
        family = study.tasks[track.task].family
        found[name] = {"model": track.model, "task": track.task, "family": family}
    return found


def recipe_facts(rl: RL) -> dict[str, dict]:
    """name -> facts of every recipe that has a branch.

    algorithm; kind: "rl", or "control" for what samples no responses; main: whether figures and
    claims show it; reward: in words, empty for controls; reward_alone: it is the main recipe but
    for its reward; fresh_any: SFT on fresh examples with any correct answer, without a KL term;
    matched: it trains in the main recipe's steps, each on as many rows, at its rates.
    """
    main, listed = rl.recipes[rl.main], {name: rl.recipes[name] for name in rl.branches}
    return {
        name: {
            "algorithm": recipe.algorithm,
            "kind": "control" if isinstance(recipe, Supervised | Average) else "rl",
            "main": name == rl.main,
            "reward": _reward(recipe),
            "reward_alone": name != rl.main and _but_reward(recipe) == _but_reward(main),
            "fresh_any": isinstance(recipe, Supervised)
            and (recipe.examples, recipe.answers) == ("fresh", "any")
            and recipe.kl_coefficient == 0,
            "matched": name != rl.main and _pace(recipe) == _pace(main),
        }
        for name, recipe in listed.items()
    }


def _reward(recipe: Recipe) -> str:
    if isinstance(recipe, Rewarded):
        return _in_words(recipe.reward)
    return "verdict" if isinstance(recipe, Sampling) else ""


def _pace(recipe: Recipe) -> tuple | None:
    """Optimizer steps, rows of each, and rates; None where weights are averaged."""
    if isinstance(recipe, Average):
        return None
    steps = recipe.steps if isinstance(recipe, Rewarded) else 1
    rows = recipe.responses
    if isinstance(recipe, Rewarded):
        rows //= recipe.minibatches
    return recipe.iterations * steps, rows, recipe.optimizer, recipe.schedule


def _but_reward(recipe: Recipe) -> dict:
    return recipe.model_dump(mode="json", exclude={"reward"})


def _in_words(weights: dict[str, float]) -> str:
    """`verdict`, or `binary + 0.5 format`."""
    return " + ".join(name if w == 1 else f"{w:g} {name}" for name, w in weights.items())
