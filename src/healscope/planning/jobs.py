"""Estimates how long each job takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from healscope import artifacts, slurm
from healscope.config import Model, Study
from healscope.measuring import measurements
from healscope.planning import constants as c
from healscope.planning.asked import Asked
from healscope.planning.sizes import Size, generation_speed, tokens, training_speed
from healscope.tasks.data.texts import Text

OTHER = "tables, others"
KEEPERS = "_keepers_"
"""Part of the names of rules that evaluate keepers."""


@dataclass(frozen=True)
class Job:
    """A job of a stage (`slurm.STAGE_OF`, or OTHER), with its rule and wildcards.

    `protocol`: of an evaluation.
    """

    stage: str
    rule: str
    wildcards: Mapping[str, str]
    protocol: str = ""

    @property
    def track(self) -> str:
        """The track whose stage it is of; empty for others, which are small."""
        return "" if self.stage == OTHER else self.wildcards["track"]


def job_of(started: dict) -> Job:
    """Return the job that an entry of `dry_run` describes."""
    rule, wildcards, output = (started[key] for key in ("rule", "wildcards", "output"))
    stage = slurm.stage_of(rule) or OTHER
    found = artifacts.parse(artifacts.EVALUATION, output[0]) if stage == "evaluation" else {}
    return Job(stage, rule, wildcards, found.get("protocol", ""))


@dataclass(frozen=True)
class Costs:
    """Seconds of the jobs of one track."""

    asked: Asked
    size: Size

    @property
    def study(self) -> Study:
        return self.asked.study

    @property
    def model(self) -> Model:
        return self.asked.model

    def seconds(self, job: Job) -> float:
        work = getattr(self, f"_{job.stage}")
        return c.START.value + work(job)

    def _on_gpu(self, stage: str) -> int:
        return self.model.need(stage).gpus

    def _train(self, stage: str, sequences: float, reading: bool = False) -> float:
        """Return the seconds of training on (or, `reading`, one pass over) whole sequences."""
        flops = sequences * sum(self._tokens()) * self.size.parameters
        if gpus := self._on_gpu(stage):
            if self.model.scratch:
                return flops * (c.FORWARD if reading else c.TRAIN).value / c.SMALL_TRAIN.value
            each = c.FORWARD if reading else c.RECOMPUTED
            return flops * each.value / training_speed() / gpus
        each = c.FORWARD if reading else c.TRAIN
        return flops * each.value / c.CPU_TRAIN.value / self.model.need(stage).threads

    def _answers(
        self, stage: str, answers: float, engine: str = "", batch: int = 0, length: float = 0
    ) -> float:
        """Return the seconds of sampling, `batch` at a time: computing, or waiting for each
        layer. `length`: tokens of an answer, if not as in training."""
        length, evaluation = length or self._tokens()[1], self.study.evaluation
        flops = answers * length * self.size.parameters * c.FORWARD.value
        if gpus := self._on_gpu(stage):
            batches = math.ceil(answers / (batch or evaluation.batch_size))
            waiting = batches * length * self.size.layers * c.LAUNCH.value
            return max(waiting, flops / generation_speed(engine or evaluation.engine) / gpus)
        return flops / c.CPU_GENERATE.value / self.model.need(stage).threads

    def _tokens(self) -> tuple[float, float]:
        return tokens(self.asked.task, self.model)

    def _load(self, times: float = 1) -> float:
        """Return the seconds of hashing, then reading weights."""
        each = 2 / c.DISK.value + 1 / c.HASHING.value
        return times * self.size.weight_bytes * each

    def _save(self, times: float = 1) -> float:
        """Return the seconds of writing, then hashing weights."""
        return self._load(times)

    def _states(self, times: float) -> float:
        """Return the seconds of writing training states: weights and both moments."""
        state = self.size.parameters * (c.MASTER.value + c.MOMENTS.value)
        return times * state / c.DISK.value

    def _svd(self, checkpoints: float) -> float:
        flops = checkpoints * self.size.svd_flops(self.study.spectra.matrices)
        if self._on_gpu("spectra"):
            return flops / (c.GPU_SVD_SHARE.value * c.H100_PEAK_FLOAT64.value)
        return flops / c.CPU_SVD.value / self.model.need("spectra").threads

    def _base(self, job: Job) -> float:
        if job.rule == "take":  # linked, and looked through
            return self._load(2)
        if self.model.scratch:
            p = self.model.scratch.pretraining
            return self._train("base", p.steps * p.batch_size) + self._save()
        if self.model.source.startswith(("/", ".")):
            return self._load(2)
        return self.size.weight_bytes / c.NETWORK.value + self._save()

    def _sft(self, _job: Job) -> float:
        s = self.study.sft
        logs = s.steps / s.log_every
        return (
            self._train("sft", s.steps * s.batch_size)
            + self._train("sft", logs * 3 * s.log_problems, reading=True)  # losses
            + self._answers("sft", logs * 2 * s.log_problems, "hf")  # format errors
            + self._save(len(s.checkpoints))
            + self._states(s.steps / s.state_every)
            + self._load()
        )

    def _rl(self, job: Job) -> float:
        recipe = self.study.rl.recipes[artifacts.parse_branch(job.wildcards["branch"])[0]]
        cost, batch = recipe.cost, getattr(recipe, "responses", 0)
        return (
            self._answers("rl", cost.sampled, self.study.rl.engine, batch)
            + self._train("rl", cost.sampled, reading=True)  # log-probabilities and values before
            + self._train("rl", cost.trained)
            + self._train("rl", cost.measured, reading=True)
            + self._load(2)
            + self._save()
            + self._states(cost.states)
        )

    def _evaluation(self, job: Job) -> float:
        variants = (
            1
            if "branch" in job.wildcards
            else min(self.study.evaluation.variants_per_job, len(self.study.sft.checkpoints))
        )
        answers = self._answers("evaluation", self.asked.answers(job.protocol))
        if KEEPERS in job.rule:
            answers = self._of_keepers("evaluation")
        return variants * (answers + self._load()) + self._load()

    def _of_keepers(self, stage: str) -> float:
        """Return the seconds of the answers of one checkpoint or edit to keepers."""
        return sum(self._of_keeper(stage, name) for name in self.study.evaluation.keepers)

    def _of_keeper(self, stage: str, name: str) -> float:
        task, (problems, _) = self.asked.tasks[name], self.asked.problems[name]
        if task.family == Text.family:  # its passages are read, and nothing is written
            sequences = problems * sum(tokens(task, self.model)) / sum(self._tokens())
            return self._train(stage, sequences, reading=True)
        return self._answers(stage, problems, length=self.study.evaluation.keeper_tokens)

    def _edits(self, job: Job) -> float:
        """Every edit reads the factors of both checkpoints of its stage."""
        edits = self.study.edits.names()
        jobs = -(-len(edits) // self.study.evaluation.variants_per_job)
        reading = 2 * self.size.factor_bytes(self.study.spectra) / c.DISK.value
        answers = self._answers("edits", self.asked.retried)
        each = (self._of_keepers("edits") if KEEPERS in job.rule else answers) + reading
        return self._load(2) + len(edits) / jobs * each

    def _spectra(self, job: Job) -> float:
        if job.rule == "compare":  # four pairs; every control is an SVD of each matrix
            pairs = 4
            reading = pairs * 2 * self.size.factor_bytes(self.study.spectra) / c.DISK.value
            return reading + self._svd(pairs * (1 + len(self.study.spectra.controls)))
        points = 1 if job.rule == "factors_rl" else 3
        return points * self._load() + self._svd(points)

    def _probes(self, job: Job) -> float:
        cost = measurements()[job.rule.removeprefix("measure_")].cost(self.study)
        reading = self._train("probes", cost.sequences, reading=True)
        return self._load(cost.loads) + reading + self._svd(cost.svds)
