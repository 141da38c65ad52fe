"""The jobs that a real dry run would start, and how long each takes."""

import math
import re
from dataclasses import dataclass, field

from healscope import artifacts
from healscope.config import Model, Study
from healscope.errors import HealscopeError
from healscope.planning import constants as c
from healscope.planning.asked import Asked
from healscope.planning.sizes import Size, generation_speed, tokens, training_speed

OTHER = "tables, others"

# What a job says of itself (`message` of its rule) -> its stage
MESSAGES = (
    ("base", r"Base model (?P<model>\S+), seed \d+"),
    ("base", r"Take (?P<given>\S+) of (?P<model>\S+)"),
    ("sft", r"SFT \((?P<arm>\S+)\) of (?P<model>\S+), seed \d+"),
    ("rl", r"(?P<branch>\S+-from-\d+) of (?P<model>\S+), seed \d+"),
    ("evaluation", r"Evaluate SFT \(\S+\) under (?P<protocol>\S+): (?P<model>\S+), seed \d+"),
    ("evaluation", r"Evaluate (?P<branch>\S+) under (?P<protocol>\S+): (?P<model>\S+), seed \d+"),
    ("spectra", r"SVDs, (?P<part>\w+): (?P<model>\S+), seed \d+"),
    ("spectra", r"(?P<compare>Compare) weights of (?P<model>\S+), seed \d+"),
    ("edits", r"Edits of stage (?P<stage>\S+): (?P<model>\S+), seed \d+"),
    ("probes", r"(?P<probe>Hidden states|Signals along SFT) of (?P<model>\S+), seed \d+"),
)
_JOB = re.compile(r"^\s*Job \d+: (.+)$", re.MULTILINE)
_TOTAL = re.compile(r"^total\s+(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    stage: str
    model: str = ""
    about: dict[str, str] = field(default_factory=dict)


def parse(output: str) -> list[Job]:
    """The jobs in what `snakemake --dry-run` printed; the target rule itself is none.

    Raises HealscopeError where their number is not the one that Snakemake counted.
    """
    found = [_job(message) for message in _JOB.findall(output)]
    total = _TOTAL.search(output)
    counted = int(total[1]) if total else 0
    aims = len(re.findall(r"^all\s+1\s*$", output.split("\ntotal")[0], re.MULTILINE))
    if counted - aims != len(found):
        raise HealscopeError(
            f"the dry run counted {counted - aims} jobs and named {len(found)}; run "
            "`snakemake --dry-run` to see them"
        )
    return found


def _job(message: str) -> Job:
    for stage, pattern in MESSAGES:
        if match := re.fullmatch(pattern, message.strip()):
            about = match.groupdict()
            return Job(stage, about.pop("model"), about)
    return Job(OTHER)


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
        return c.START.value + work(job.about)

    def _on_gpu(self, stage: str) -> int:
        return self.model.need(stage).gpus

    def _train(self, stage: str, sequences: float, reading: bool = False) -> float:
        """Seconds of training on (or, `reading`, one pass over) whole sequences."""
        flops = sequences * sum(self._tokens()) * self.size.parameters
        if gpus := self._on_gpu(stage):
            if self.model.scratch:
                return flops * (c.FORWARD if reading else c.TRAIN).value / c.SMALL_TRAIN.value
            each = c.FORWARD if reading else c.RECOMPUTED
            return flops * each.value / training_speed() / gpus
        each = c.FORWARD if reading else c.TRAIN
        return flops * each.value / c.CPU_TRAIN.value / self.model.need(stage).threads

    def _answers(self, stage: str, answers: float, engine: str = "", batch: int = 0) -> float:
        """Seconds of sampling, `batch` at a time: what is computed, or the wait for each layer."""
        length, evaluation = self._tokens()[1], self.study.evaluation
        flops = answers * length * self.size.parameters * c.FORWARD.value
        if gpus := self._on_gpu(stage):
            batches = math.ceil(answers / (batch or evaluation.batch_size))
            waiting = batches * length * self.size.layers * c.LAUNCH.value
            return max(waiting, flops / generation_speed(engine or evaluation.engine) / gpus)
        return flops / c.CPU_GENERATE.value / self.model.need(stage).threads

    def _tokens(self) -> tuple[float, float]:
        return tokens(self.asked.task, self.model)

    def _load(self, times: float = 1) -> float:
        """Weights are hashed, then read."""
        each = 2 / c.DISK.value + 1 / c.HASHING.value
        return times * self.size.weight_bytes * each

    def _save(self, times: float = 1) -> float:
        """Weights are written, then hashed."""
        return self._load(times)

    def _states(self, times: float) -> float:
        """Training states are written: weights and both moments."""
        state = self.size.parameters * (c.MASTER.value + c.MOMENTS.value)
        return times * state / c.DISK.value

    def _svd(self, checkpoints: float) -> float:
        flops = checkpoints * self.size.svd_flops(self.study.spectra.matrices)
        if self._on_gpu("spectra"):
            return flops / (c.GPU_SVD_SHARE.value * c.H100_PEAK_FLOAT64.value)
        return flops / c.CPU_SVD.value / self.model.need("spectra").threads

    def _base(self, about: dict) -> float:
        if about.get("given"):  # linked, and looked through
            return self._load(2)
        if self.model.scratch:
            p = self.model.scratch.pretraining
            return self._train("base", p.steps * p.batch_size) + self._save()
        if self.model.source.startswith(("/", ".")):
            return self._load(2)
        return self.size.weight_bytes / c.NETWORK.value + self._save()

    def _sft(self, _about: dict) -> float:
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

    def _rl(self, about: dict) -> float:
        recipe = self.study.rl.recipes[artifacts.parse_branch(about["branch"])[0]]
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

    def _evaluation(self, about: dict) -> float:
        variants = (
            1
            if about.get("branch")
            else min(self.study.evaluation.variants_per_job, len(self.study.sft.checkpoints))
        )
        answers = self._answers("evaluation", self.asked.answers(about["protocol"]))
        return variants * (answers + self._load()) + self._load()

    def _edits(self, _about: dict) -> float:
        """Every edit reads the factors of both checkpoints of its stage."""
        edits = self.study.edits.names()
        jobs = -(-len(edits) // self.study.evaluation.variants_per_job)
        reading = 2 * self.size.factor_bytes(self.study.spectra.matrices) / c.DISK.value
        each = self._answers("edits", self.asked.retried) + reading
        return self._load(2) + len(edits) / jobs * each

    def _spectra(self, about: dict) -> float:
        if about.get("compare"):  # four pairs; every control is an SVD of each matrix
            pairs, roles = 4, self.study.spectra.matrices
            reading = pairs * 2 * self.size.factor_bytes(roles) / c.DISK.value
            return reading + self._svd(pairs * (1 + len(self.study.spectra.controls)))
        points = 1 if about["part"] == "rl" else 3
        return points * self._load() + self._svd(points)

    def _probes(self, about: dict) -> float:
        if about["probe"].startswith("Hidden"):
            rows = 4 * 2 * self.study.hidden_states.problems
            return self._load(4) + self._train("probes", rows, reading=True)
        steps = len(self.study.sft.checkpoints)
        rows = steps * 8 * self.study.signals.problems
        return self._load(2 * steps + 1) + self._train("probes", rows, True) + self._svd(steps)
