"""`healscope plan`: the jobs, GPUs, hours and disk that a study still needs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from healscope.config import Study, files, load
from healscope.config.compute import STAGES
from healscope.location import CONFIG, WORKFLOW
from healscope.planning import constants as c
from healscope.planning.asked import Asked
from healscope.planning.disk import Disk, disk, peak
from healscope.planning.dry_run import dry_run
from healscope.planning.jobs import OTHER, Costs, Job, job_of
from healscope.planning.sizes import generation_speed, size_of, training_speed
from healscope.tasks import Task, build

HEADER = ("stage", "model", "jobs", "GPUs", "hours each", "GPU-hours", "core-hours")
WIDTHS = (15, 16, 6, 5, 11, 10, 11, 9)


@dataclass(frozen=True)
class Row:
    """One stage of one track: GPUs and mean hours of a job, sums over jobs, and bytes at the
    end."""

    stage: str
    model: str
    jobs: int
    gpus: int
    hours: float
    gpu_hours: float
    core_hours: float
    kept: float


def plan(
    configfiles: Sequence[str] = (),
    targets: Sequence[str] = (),
    directory: str | None = None,
    at_once: int = 8,
) -> str:
    """Return the plan of a study, or of some targets of it, as a table.

    `directory` is Snakemake's.

    Jobs are those of a dry run in the working directory, so that what stands is not counted again.
    Raises HealscopeError where Snakemake refuses the study, or a model's size is unknown.
    """
    study = load(files.read_together(configfiles or [CONFIG / "config.yaml"]))
    arguments = [*WORKFLOW, *(["--directory", directory] if directory else [])]
    arguments += ["--configfile", *configfiles] if configfiles else []
    return table(study, list(map(job_of, dry_run([*arguments, "--", *targets]))), at_once)


def table(study: Study, jobs: Sequence[Job], at_once: int) -> str:
    """Return the plan as text, at most 100 columns wide."""
    tracks = dict.fromkeys([*study.followed, *(job.track for job in jobs if job.track)])
    names = {task for track in tracks for task in study.evaluated(track)}
    names |= set(study.evaluation.keepers)
    tasks = {name: build(name, study.tasks[name]) for name in names}
    problems = {name: task.count() for name, task in tasks.items()}
    disks, rows, chains = {}, [], {}
    for name in tracks:
        asked = Asked(study, name, tasks, problems)
        size = size_of(study.tracks[name].model, asked.model, asked.task)
        costs, disks[name] = Costs(asked, size), disk(asked, size)
        seconds = defaultdict(list)
        for job in jobs:
            if job.track == name:
                seconds[job.stage].append(costs.seconds(job))
        rows += [_row(study, name, s, seconds[s], disks[name]) for s in STAGES]
        chains[name] = sum(max(s, default=0) for s in seconds.values()) / 3600
    rows.sort(key=lambda row: STAGES.index(row.stage))
    others, hours = sum(job.stage == OTHER for job in jobs), c.START_PLAIN.value / 3600
    rows.append(Row(OTHER, "", others, 0, hours, 0.0, others * hours, 0.0))
    most = peak(disks.values(), at_once)
    unit, scale = ("GB", 1e9) if most > 1e10 else ("MB", 1e6)
    header = _line(*HEADER, f"disk {unit}")
    lines = [header, "-" * len(header), *(_written(row, scale) for row in rows), ""]
    lines += _totals(study, rows, f"{most / scale:,.0f} {unit}", scale, chains)
    return "\n".join([*lines, "", *_assumptions(study, at_once), *_problems(study, tasks)])


def _row(study: Study, name: str, stage: str, seconds: list[float], of_disk: Disk) -> Row:
    need, hours = study.model_of(name).need(stage), sum(seconds) / 3600
    each = hours / max(len(seconds), 1)
    sums = hours * need.gpus, hours * need.threads
    return Row(stage, name, len(seconds), need.gpus, each, *sums, of_disk.kept.get(stage, 0.0))


def _written(row: Row, size: float) -> str:
    hours = f"{row.hours:.3f}" if row.jobs else "-"
    sums = f"{row.gpu_hours:,.1f}", f"{row.core_hours:,.1f}"
    kept = f"{row.kept / size:,.1f}" if row.kept else "-"
    return _line(row.stage, row.model, f"{row.jobs:,}", str(row.gpus), hours, *sums, kept)


def _line(*cells: str) -> str:
    """Two columns of words, then numbers."""
    sized = [f"{cell:<{w}}" for cell, w in zip(cells[:2], WIDTHS[:2], strict=True)]
    sized += [f"{cell:>{w}}" for cell, w in zip(cells[2:], WIDTHS[2:], strict=True)]
    return " ".join(sized).rstrip()


def _totals(study: Study, rows: list[Row], most: str, size: float, chains: dict) -> list[str]:
    jobs, gpu_hours, core_hours, kept = (
        sum(getattr(row, key) for row in rows)
        for key in ("jobs", "gpu_hours", "core_hours", "kept")
    )
    gpus = max((row.gpus for row in rows if row.jobs), default=0)
    longest = max(chains, key=chains.get)
    return [
        f"total  {jobs:,} jobs to run, {gpu_hours:,.1f} GPU-hours on up to {gpus} GPUs a job, "
        f"{core_hours:,.1f} core-hours",
        f"disk   {kept / size:,.0f} {most[-2:]} at the end, {most} at the peak "
        f"(checkpoints.keep: {study.checkpoints.keep})",
        f"time   {chains[longest]:,.1f} h at least: a job of each stage after the other, {longest}",
    ]


def _problems(study: Study, tasks: dict[str, Task]) -> list[str]:
    """Return what tasks say of their problems, and an example as SFT trains on it."""
    lines = []
    for name, task in tasks.items():
        if notes := task.notes():
            lines += ["", *(f"{name}: {note}" for note in notes)]
        example = task.example() if name in study.trained_on else None
        for model in study.models if example and not study.own_checkpoints else ():
            lines += ["", f"An example of SFT of {model} on {name}; >>> is all that it trains on:"]
            lines += _rendered(study.models[model].source, *example).splitlines()
    return lines


def _rendered(source: str, prompt: str, response: str) -> str:
    """Return a training example as a model reads it; without its chat template where the model is
    not here."""
    from healscope.config import sources

    folder = sources.folder(source)
    if not folder.is_dir():
        return f"(chat template unknown, since {source} is not a folder)\n{prompt}\n>>>{response}"
    from healscope.models import tokens

    tokenizer = tokens.load_tokenizer(str(folder))
    end = tokenizer.decode(tokens.response_ids(tokenizer, response))
    return f"{tokens.prompt_text(tokenizer, prompt)}\n>>>{end}"


def _assumptions(study: Study, at_once: int) -> list[str]:
    engine = study.evaluation.engine
    if any(need.gpus for model in study.models.values() for need in model.needs.values()):
        train, sample = training_speed(), generation_speed(engine)
        svd = c.GPU_SVD_SHARE.value * c.H100_PEAK_FLOAT64.value
        speeds = (
            f"One H100 (not measured): {train / 1e12:.0f} TFLOP/s in training, "
            f"{sample / 1e12:.0f} in sampling by {engine}, {svd / 1e12:.1f} in SVDs."
        )
    else:
        speeds = (
            f"One CPU thread (measured): {c.CPU_TRAIN.value / 1e9:.0f} GFLOP/s in training, "
            f"{c.CPU_GENERATE.value / 1e9:.0f} in sampling, {c.CPU_SVD.value / 1e9:.0f} in SVDs."
        )
    return [
        speeds,
        f"Peak: all SFT checkpoints, and {at_once} jobs of SFT or RL in writing (--at-once). "
        "Weights are float32.",
        "Every first answer counts as wrong. Constants and sources: "
        "src/healscope/planning/constants.py",
    ]
