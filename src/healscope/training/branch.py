"""A branch: what a recipe starts from and works with, whatever its algorithm."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from healscope.config import PassRate, Rewarded, Sampling, Supervised
from healscope.engines import VLLM
from healscope.errors import HealscopeError
from healscope.tasks.rewards import STEPWISE, scorer
from healscope.tasks.task import Task
from healscope.training.begun import instances
from healscope.training.compute import ONE_PROCESS, Compute
from healscope.training.health import Diverged
from healscope.training.kept import Keeper, folder
from healscope.training.sampling import Sampler
from healscope.training.state import Workspace


@dataclass(frozen=True)
class Branch:
    """One run of a recipe from one SFT checkpoint.

    Attributes:
        name: name of the branch, and of the checkpoint that its trainer stages.
        start, base: manifests of the checkpoint that it starts from, and of the base model.
        prompts: rows of the RL pool that problems may be drawn from.
        sft_pool: rows of the SFT pool.
        sft_rows: the rows that SFT was trained on, with this seed.
        task: the training task.
        max_new_tokens: length limit of a response.
        seed: seed of all random streams.
        work: state folder of the run.
        label: text beside the progress bar.
        compute: precision, processes and micro-batches.
        masked_by: manifest of the branch whose changes say which entries train, if a recipe asks.
        pass_rates: of training problems at `start` (schema pass-rates), for a recipe that asks.
        engine: the vLLM engine that samples; None if the model samples itself.
        not_given: keys of the task that decide which problems it deals, and that the job lacks.
    """

    name: str
    start: str
    base: str
    prompts: pd.DataFrame
    sft_pool: pd.DataFrame
    sft_rows: pd.DataFrame
    task: Task
    max_new_tokens: int
    seed: int
    work: Workspace
    label: str
    compute: Compute = ONE_PROCESS
    engine: VLLM | None = None
    pass_rates: pd.DataFrame | None = None
    masked_by: str | None = None
    not_given: tuple[str, ...] = ()

    def deal(self, pool: str) -> pd.DataFrame:
        """Return training problems that no file has: a pool of `problem.POOLS`.

        Raises HealscopeError where the job was not given all that decides what is held out: with
        the defaults in its place a pool would have problems of the other side.
        """
        if self.not_given:
            raise HealscopeError(
                f"{self.name}: {', '.join(self.not_given)} of task {self.task.name!r} say which "
                f"problems are held out, and this job has no values of them to deal pool '{pool}' "
                "by; give it the whole section of the task (values.task_of_branch)"
            )
        tables = {
            "unsolvable": self.task.unsolvable_table,
            "less": self.task.less_table,
            "ood": self.task.ood_table,
        }
        return tables[pool]()

    @cached_property
    def less_pool(self) -> pd.DataFrame:
        """Training problems with a part less, in the columns of `sft_pool`."""
        return self.deal("less")

    def prompt_pool(self, recipe: Sampling | Supervised) -> pd.DataFrame:
        """Return the problems to sample from, as `recipe.problems` says.

        Raises Diverged where there are none: the study goes on without this branch.
        """
        found, prefixes = self._problems(recipe.problems), getattr(recipe, "prefixes", None)
        if not prefixes:
            return found
        return instances(self.task, found, prefixes == "another", self.seed)

    def _problems(self, which: str | PassRate | None) -> pd.DataFrame:
        if which in ("training", None):
            return self.prompts
        if which == "unsolvable":
            return self.deal("unsolvable")
        if which == "sft":
            chosen = self.prompts["instance_id"].isin(set(self.sft_rows["instance_id"]))
        else:
            least, most = which.pass_rate
            rates = self.pass_rates["correct"] / self.pass_rates["samples"]
            within = self.pass_rates.loc[rates.between(least, most), "problem_id"]
            chosen = self.prompts["problem_id"].isin(set(within))
            if not chosen.any():
                raise Diverged(
                    f"{self.name}: none of {len(rates)} training problems has a pass rate from "
                    f"{least:g} to {most:g} where it starts (they have {rates.min():g} to "
                    f"{rates.max():g}); widen pass_rate, or measure more (rl.pools.problems)",
                    [],
                )
        return self.prompts[chosen].reset_index(drop=True)

    def sampler(self, recipe: Sampling, **more) -> Sampler:
        """Return a sampler with the recipe's settings; `more` are those of its algorithm."""
        paid = isinstance(recipe, Rewarded)
        return Sampler(
            task=self.task,
            score=scorer(self.task, recipe.reward if paid else {"verdict": 1.0}),
            max_new_tokens=self.max_new_tokens,
            temperature=recipe.temperature,
            samples_per_prompt=recipe.samples_per_prompt,
            length_neutral=paid and recipe.length_neutral,
            one_step=paid and set(recipe.reward) <= set(STEPWISE),
            engine=self.engine,
            keeper=Keeper(folder(self.work.folder), recipe.keep_answers)
            if recipe.keep_answers
            else None,
            **more,
        )
