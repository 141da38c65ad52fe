"""The section `rl` of a study: its recipes and where they start."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from healscope.config.engines import EngineName
from healscope.config.recipe_bases import PassRate, Pools, Rewarded, Training
from healscope.config.recipes import ALGORITHMS, BUILT_IN, Recipe, Supervised, Taught
from healscope.sections import FolderName, Name, Natural, Section, distinct, inherited, merged
from healscope.tasks.rewards import STEPWISE

Starts = Annotated[list[Natural], Field(min_length=1), AfterValidator(distinct)]


class RL(Section):
    """Recipes and where they start; any other recipe and start can still be asked for by name."""

    engine: EngineName = Field(
        "hf", description="what responses are sampled with: hf (transformers) or vllm"
    )
    defaults: Training = Field(
        Training(), description="for every recipe that trains; a recipe can override any of it"
    )
    pools: Pools = Field(
        Pools(), description="how hard training problems are, for recipes that ask for it"
    )
    recipes: dict[Name, Recipe] = Field(
        {},
        description="name -> settings; a new name starts from another one: {like: ppo_multi, clip: "
        "0.1}",
    )
    branches: Annotated[dict[Name, Literal["all"] | list[Natural]], Field(min_length=1)] = Field(
        description="recipe -> SFT steps it starts from, or `all`; one run each; null, in a file "
        "over another: none"
    )
    branches_of: dict[FolderName, dict[Name, Starts]] = Field(
        {},
        description="track that is not followed, such as rich.nav -> recipe -> SFT steps: what "
        "findings ask of it",
    )
    main: Name = Field(
        "ppo", description="recipe of figures 3, 10 and 11, of the landmark and of most claims"
    )

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, data: Any) -> Any:
        """Complete every recipe: built-in values, `defaults`, `like`, then its own keys."""
        if not isinstance(data, dict):
            return data
        given, defaults = data.get("recipes") or {}, data.get("defaults") or {}
        if not isinstance(given, dict) or not isinstance(defaults, dict):
            return data
        names = [*BUILT_IN, *(name for name in given if name not in BUILT_IN)]

        def start(name: str, own: dict) -> dict:
            return _start(name, own, defaults)

        try:
            recipes = {name: inherited(name, given, BUILT_IN, start, _joined) for name in names}
        except ValueError as error:
            raise ValueError(f"recipes.{error}") from None
        return {**data, "recipes": recipes}

    @field_validator("branches", mode="after")
    @classmethod
    def _distinct(cls, branches: dict) -> dict:
        for name, starts in branches.items():
            if starts != "all" and (not starts or len(set(starts)) < len(starts)):
                raise ValueError(f"'{name}' needs at least one start, and none twice")
        return branches

    @model_validator(mode="after")
    def _no_idle_settings(self):
        for name, recipe in self.recipes.items():
            if idle := _idle(recipe):
                raise ValueError(
                    f"recipes.{name}: {' and '.join(idle)} would change nothing, since with one "
                    "optimizer step on each batch (epochs: 1, minibatches: 1) every probability "
                    "ratio is 1; set epochs or minibatches, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _known(self):
        beside = [name for of in self.branches_of.values() for name in of]
        for name in [*self.branches, *beside, self.main]:
            if name not in self.recipes:
                raise ValueError(
                    f"no recipe '{name}'; there are {', '.join(self.recipes)}, and a new one is an "
                    "entry of rl.recipes"
                )
        return self

    def measures_pool(self, recipe: str) -> bool:
        """Return whether a recipe takes problems by their pass rate where it starts."""
        found = self.recipes[recipe]
        return isinstance(getattr(found, "problems", None), PassRate)

    def pool_facts(self) -> dict[str, dict]:
        """Return recipe -> problems, algorithm and reward, of recipes with a branch whose problems
        are chosen by how hard they are."""
        return {
            name: {
                "problems": recipe.problems
                if isinstance(recipe.problems, str)
                else list(recipe.problems.pass_rate),
                "algorithm": recipe.algorithm,
                "reward": recipe.reward_words,
                "spread": _spread(recipe),
            }
            for name, recipe in ((name, self.recipes[name]) for name in self.branches)
            if not getattr(recipe, "prefixes", None)
            and (self.measures_pool(name) or getattr(recipe, "problems", "") == "unsolvable")
        }

    def taught_facts(self) -> dict[str, list[str]]:
        """Return recipe -> [algorithm, what the text tells, whether chosen answers are learned
        after it (rlag) or in what it is rlag's equal], of recipes that teach a rule by a text."""
        return {
            name: [
                recipe.algorithm,
                recipe.told,
                recipe.given if recipe.algorithm == "rlag" else recipe.budget,
            ]
            for name, recipe in self.recipes.items()
            if isinstance(recipe, Taught)
        }

    def step_arms(self) -> dict[str, str]:
        """Return recipe -> role of recipes on answers that an expert has begun, and of those that
        differ from the one paid for outcomes by answering whole.

        A role is "sft", "another", the reward if it is one of steps, "outcome", or "whole".
        """
        found = {}
        for name in self.branches:
            recipe = self.recipes[name]
            prefixes = getattr(recipe, "prefixes", None)
            if isinstance(recipe, Supervised) and prefixes:
                found[name] = "sft"
            elif prefixes == "another":
                found[name] = "another"
            elif prefixes:
                paid = [reward for reward in recipe.reward if reward in STEPWISE]
                found[name] = paid[0] if paid else "outcome"
        alike = [
            _but(self.recipes[n], "prefixes") for n, role in found.items() if role == "outcome"
        ]
        for name in self.branches:
            if name not in found and _but(self.recipes[name], "prefixes") in alike:
                found[name] = "whole"
        return found

    def retry_arms(self) -> dict[str, str]:
        """Return recipe -> what is said before the second attempts that it learns from; "grpo" of
        recipes of the same track that differ from one of these in learning from none."""
        found: dict[str, str] = {}
        for asked in (self.branches, *self.branches_of.values()):
            recipes = {name: self.recipes[name] for name in asked}
            said = {name: getattr(recipe, "off_policy", None) for name, recipe in recipes.items()}
            own = {name: off_policy.feedback for name, off_policy in said.items() if off_policy}
            alike = [_but(recipes[name], "off_policy") for name in own]
            for name, recipe in recipes.items():
                if name not in own and _but(recipe, "off_policy") in alike:
                    own[name] = "grpo"
            found |= own
        return found

    def facts(self) -> dict[str, dict]:
        """Return recipe -> plain values for tables and figures, of recipes that have a branch.

        algorithm; kind: "rl", "control" if it samples no responses, or "planted"; main: whether
        figures and claims show it; reward: in words, empty for controls; reward_alone: whether it
        differs from the main recipe in its reward alone; matched: whether it trains in the main
        recipe's steps, each on as many rows, at its rates.
        """
        main = self.recipes[self.main]
        return {
            name: {
                "algorithm": recipe.algorithm,
                "kind": recipe.kind,
                "main": name == self.main,
                "reward": recipe.reward_words,
                "reward_alone": name != self.main
                and _but(recipe, "reward") == _but(main, "reward"),
                "matched": name != self.main and recipe.pace == main.pace,
            }
            for name, recipe in ((name, self.recipes[name]) for name in self.branches)
        }


def _but(recipe: Recipe, key: str) -> dict:
    return recipe.model_dump(mode="json", exclude={key, "keep_answers"})


def _spread(recipe: Recipe) -> bool:
    """Return whether advantages are divided by the spread of their group, or of all."""
    credit = getattr(recipe, "credit", None)
    return recipe.algorithm != "dr_grpo" if credit is None else credit.spread


def _idle(recipe: Recipe) -> list[str]:
    """Return the settings that would change nothing, as the recipe takes one step on a batch."""
    if not isinstance(recipe, Rewarded) or recipe.steps > 1:
        return []
    usual = type(recipe)(**BUILT_IN[recipe.algorithm])
    of_ratios = ["clip", "clip_high", "ratio_limit"]
    if getattr(recipe, "value_head", "") == "shared":  # its values, too, are still those before
        of_ratios.append("value_clip")
    return [key for key in of_ratios if getattr(recipe, key, None) != getattr(usual, key, None)]


def _start(name: str, own: dict, defaults: dict) -> dict:
    """Return the values that a recipe without `like` starts from."""
    start = dict(BUILT_IN.get(name, {}))
    algorithm = own.get("algorithm") or start.get("algorithm")
    if not issubclass(ALGORITHMS.get(str(algorithm), Training), Training):
        return start
    optimizer = Training().optimizer.model_dump()  # one key of it leaves the others alone
    return merged(merged({"optimizer": optimizer}, defaults), start)


def _joined(start: dict, own: dict) -> dict:
    if "reward" in own:  # a sum of its own, not a term more
        start = {key: value for key, value in start.items() if key != "reward"}
    return merged(start, own)
