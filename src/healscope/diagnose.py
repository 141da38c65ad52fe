"""`healscope diagnose`: from a base and its checkpoints to the page, by a study that it writes.

The study stands in OUT/diagnosis.yaml, and Snakemake runs it in OUT. Folders are named as seen from
there, so that no path of the machine is in what is written.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import yaml

from healscope import artifacts
from healscope.config import Study, files, foreign, keepers, load, own_checkpoints, sources
from healscope.errors import HealscopeError
from healscope.location import SNAKEFILE, WORKFLOW
from healscope.progress import Bar
from healscope.stats import POWER

CONFIG, LOG, PAGE = "diagnosis.yaml", "diagnosis.log", "results/tables/diagnosis.md"
TASK, MODEL = "asked", "mine"

FIRST = ("fig1", "fig_groups", "fig_repair")
"""Figures that come first on the page."""

DETECTED, EXCHANGED = 0.05, 0.2
"""A change that is to be seen, and the share of problems whose verdicts differ between two
checkpoints, as between a base and its SFT checkpoints (docs/statistics.md)."""
_Z = sum(map(NormalDist().inv_cdf, (0.975, POWER)))  # two-sided 5%
ENOUGH = round(_Z**2 * EXCHANGED / DETECTED**2)
"""Problems of each set that see such a change, if each is an instance of its own."""

SPECTRA = {"precision": "float32", "angle_fractions": [0.25, 0.5], "controls": ["noise"]}
"""The least that tells a turned matrix from noise, by SVDs of half the time."""

EDITS: dict[str, Any] = {
    "kinds": ["pinned", "swap"],
    "axes": {"rank": [0.25, 1.0]},
    "controls": {"pinned": ["interpolation", "noise", "rotation"]},
    "controlled": {"rank": [0.25]},
    "also": {
        "swap-strength-0.25": [],
        "swap-strength-0.5": [],
        "swap-strength-0.75": [],
        "ramp": ["straight", "noise"],
        "threshold": ["interpolation", "noise"],
        "trim-tail-0.8": ["interpolation", "noise"],
        "drop-rank-0.5": ["noise"],  # as long a straight step is the parent
        "intruders-k-10": ["interpolation", "noise"],
    },
}
"""A dozen edits of the last checkpoint towards the best one: straight steps (WiSE-FT), singular
directions, and the published repairs of an update, with matched controls."""


def study(
    out: Path,
    base: str,
    checkpoints: Sequence[str],
    rl: Sequence[str],
    task: Mapping[str, Any],
    max_new_tokens: int,
) -> dict[str, Any]:
    """Return the config of a study in the folder `out`, whose `task` is a section of `tasks`.

    `checkpoints` and `rl` are folders, folders of a run, hub ids, or STEP=one of them; RL started
    from the last step unless its step says so. Raises HealscopeError where steps cannot be told.
    """
    sft = steps(checkpoints, out)
    if not sft:
        raise HealscopeError(f"name checkpoints beside the base {base}, or the folder of their run")
    last = max(sft)
    model: dict[str, Any] = {"source": _seen(base, out), "sft": sft}
    if rl:
        model["rl"] = dict(_branch(text, last, out) for text in rl)
    return {
        "study": "diagnosis",
        "tasks": {TASK: dict(task)},
        "train_on": TASK,
        "models": {MODEL: model},
        "evaluation": {
            "batch_size": 64,
            "max_new_tokens": max_new_tokens,
            "protocols": {"exhaustive": {}},
        },
        "spectra": SPECTRA,
        "edits": EDITS,
    }


def steps(checkpoints: Sequence[str], out: Path) -> dict[int, str]:
    """Return step -> source of SFT checkpoints, as seen from `out`.

    A folder with checkpoints in it (`checkpoint-500`) stands for all of them. A step is what stands
    before `=`, or the number at the end of the name; without any, checkpoints count 1, 2, ….
    """
    named: list[tuple[int | None, str]] = []
    for text in checkpoints:
        step, place = _step_and_place(text)
        if step == 0:
            raise HealscopeError(
                f"{text}: step 0 is the base itself, which is named first; leave it out"
            )
        inside = foreign.steps(sources.folder(place)) if step is None else {}
        named += [(s, str(p)) for s, p in inside.items()] or [
            (_number(place) if step is None else step, place)
        ]
    if all(step is None for step, _ in named):
        named = [(i + 1, place) for i, (_, place) in enumerate(named)]
    found: dict[int, str] = {}
    for step, place in named:
        if step is None:
            raise HealscopeError(f"{place}: its name has no step; give it as STEP={place}")
        if step in found:
            raise HealscopeError(
                f"{found[step]} and {place} are both step {step}; give one as STEP=FOLDER"
            )
        found[step] = _seen(place, out)
    return dict(sorted(found.items()))


def _branch(text: str, last: int, out: Path) -> tuple[int, str]:
    step, place = _step_and_place(text)
    return (last if step is None else step), _seen(place, out)


def _step_and_place(text: str) -> tuple[int | None, str]:
    step, marked, place = text.partition("=")
    return (int(step), place) if marked and step.isdecimal() else (None, text)


def _number(place: str) -> int | None:
    """Return the number at the end of a name, if it has one above 0."""
    found = re.search(r"(\d+)$", place.partition("@")[0].rstrip("/"))
    return int(found[1]) or None if found else None


def _seen(source: str, out: Path) -> str:
    """Return a source as seen from the folder where Snakemake runs; as it is where nothing of its
    name is here, as of the hub."""
    place, mark, part = source.partition("#")
    here = sources.folder(place)
    return os.path.relpath(here, out) + mark + part if here.exists() else source


def data_task(
    out: Path, id_file: str, ood: Sequence[str], given: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the section of a task of files; `ood` are files, or NAME=FILE. `given`: other keys."""
    named = {}
    for text in ood:
        name, marked, file = text.partition("=")
        file = file if marked else text
        name = name if marked else keepers.name_of(file)
        if name in named:
            raise HealscopeError(f"--ood: two sets are called {name}; give them as NAME=FILE")
        named[name] = _seen(file, out)
    keys = {key: value for key, value in given.items() if value}
    return {"family": "data", "id": _seen(id_file, out), "ood": named, **keys, "limit": ENOUGH}


def benchmark_task(names: Sequence[str]) -> dict[str, Any]:
    """Return the section of a task of benchmarks; the first is what the model was trained for."""
    if len(names) < 2:
        raise HealscopeError(
            "--benchmarks: name two or more, first the one that the model was trained for, as "
            "gsm8k,arc_easy; the others are what it should not lose"
        )
    return {"family": "lm_eval", "id": [names[0]], "ood": list(names[1:]), "limit": ENOUGH}


def write(out: Path, config: Mapping[str, Any]) -> bool:
    """Write a study's config to `out`; return False where it stands there already.

    Raises HealscopeError where another config stands there.
    """
    if out.is_file():
        raise HealscopeError(f"{out} is a file; name a folder with --out")
    file = out / CONFIG
    text = (
        "# Written by healscope diagnose. Edit it, and run it again with\n"
        "#   healscope diagnose --out FOLDER\n" + yaml.safe_dump(dict(config), sort_keys=False)
    )
    if file.exists():
        if yaml.safe_load(file.read_text(encoding="utf-8")) != yaml.safe_load(text):
            raise HealscopeError(
                f"{file} says something else than this command: run it as it stands with "
                f"healscope diagnose --out {out}, or give another --out"
            )
        return False
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return True


def check(out: Path, configfiles: Sequence[str] = (CONFIG,)) -> Study:
    """Return the study that stands in `out`, or that of other config files, as seen from there;
    raises HealscopeError."""
    with contextlib.chdir(out):
        return load(files.read_together(configfiles))


def check_checkpoints(out: Path, study: Study) -> None:
    """Raise HealscopeError where a checkpoint on this machine is damaged or does not fit its base,
    before anything runs."""
    from healscope.models import linked

    with contextlib.chdir(out):
        for model in study.models.values():
            linked.refuse_unfit(own_checkpoints.checkpoints(model))


def check_conditions(study: Study, fail_if: Sequence[str]) -> None:
    """Raise HealscopeError where a condition names no set of the study, before anything runs."""
    from healscope.outcomes import evaluations, gate
    from healscope.tasks import build
    from healscope.tasks.data.texts import Text

    if not fail_if:
        return
    tasks = {name: build(name, study.tasks[name]) for name in study.trained_on}
    rows = [r for task in tasks.values() for r in task.problem_table().to_dict("records")]
    held = [evaluations.benchmark(row) for row in rows if row["split"] == "held_out"]
    kept = study.evaluation.keepers
    judged = [name for name in kept if study.tasks[name].family != Text.family]
    names = [*dict.fromkeys(held), *judged]
    (model, *_) = study.models.values()
    for text in fail_if:
        gate.condition(text, ["base", *_after(model)], names)


def _after(model) -> list[str]:
    """Return the names of a model's checkpoints but the base."""
    named = own_checkpoints.checkpoints(model)
    return [name for name in named if name not in ("base", artifacts.sft(0))]


def cost(out: Path) -> str:
    """Return what is left to do in `out`, and what that costs, as `healscope plan` does."""
    from healscope.planning import plan

    with contextlib.chdir(out):
        return plan([CONFIG])


def run(out: Path, cores: int, arguments: Sequence[str] = ()) -> None:
    """Run the study in `out` by Snakemake, with a progress line; print the page at the end.

    All that Snakemake prints goes to OUT/diagnosis.log. Raises HealscopeError where it fails.
    """
    options = [
        *WORKFLOW, "--configfile", str((out / CONFIG).resolve()),
        "--directory", str(out), "--cores", str(cores),
        *arguments,
    ]  # fmt: skip
    go_on(out, options)
    command = [sys.executable, "-m", "snakemake", *options]
    said: list[str] = []
    with (
        (out / LOG).open("w", encoding="utf-8") as log,
        started(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        for line in _shown(process.stdout):
            log.write(line)
            log.flush()
            said.append(line)
        code = process.wait()
    if code:
        reasons = [line for line in said if line.startswith(("healscope:", "  "))]
        print("".join(reasons[-12:] or said[-12:]), end="", file=sys.stderr)
        raise HealscopeError(f"the run stopped; all that it said is in {out / LOG}")
    print((out / PAGE).read_text(encoding="utf-8"))
    print(f"healscope: this page is {out / PAGE}, figures are in {out / 'results/figures'}")


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Start a program, which is ended with all that it started when this one is: by Ctrl-C,
    kill, a closed terminal, or an exception in the block. `options` are those of Popen."""

    def interrupt(number, frame):  # noqa: ARG001
        raise KeyboardInterrupt

    signals = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, interrupt) for s in signals}
    process = subprocess.Popen(command, process_group=0, **options)
    try:
        yield process
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # shells let some ignore SIGINT
        process.wait()
        raise
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def go_on(out: Path, options: Sequence[str]) -> None:
    """Lift the lock of a run that was killed; raise HealscopeError while one is at work."""
    if not any((out / ".snakemake/locks").glob("*")):
        return
    unlock = [sys.executable, str(SNAKEFILE.parent / "unlock.py"), *options]
    done = subprocess.run(unlock, check=False, capture_output=True, text=True)
    if done.returncode:
        raise HealscopeError(done.stderr.strip().removeprefix("healscope: ") or "no lock is lifted")


def compared(out: Path, study: Study, fail_if: Sequence[str] = ()) -> dict[str, Any]:
    """Compare the answers of all checkpoints with the base's, item by item; write the page of it.

    Return the report (`healscope.outcomes.comparing.compare`), with `gate` if there are conditions.
    """
    from healscope.outcomes import page
    from healscope.outcomes.comparing import compare

    (name, model), *_ = study.models.items()
    protocol = next(iter(study.evaluation.protocols))
    given = []
    for checkpoint in (artifacts.sft(0), *_after(model)):
        file = artifacts.path(
            artifacts.EVALUATION,
            protocol=protocol, track=name, seed=0, checkpoint=checkpoint, task="any",
        )  # fmt: skip
        label = "base" if checkpoint == artifacts.sft(0) else checkpoint
        given.append((label, [(out / file).parent]))
    report = compare(given, fail_if=fail_if)
    about = (out / PAGE).read_text(encoding="utf-8") + _repairs(out)
    page.write(report, out, about, _figures(out))
    return report


def _repairs(out: Path) -> str:
    """Return the section of all repairs that were tried, as Markdown; empty where none was."""
    from healscope import provenance
    from healscope.findings.repair import FINDING, section

    file = out / FINDING.file
    if not file.is_file():
        return ""
    return f"\n## {FINDING.title}\n\n{section(provenance.read_table(file), whole=True)}\n"


def _figures(out: Path) -> dict[str, Path]:
    """Return title -> PNG of the figures that were drawn, those of accuracy and repair first."""
    from healscope.figures.catalogue import FIGURES

    folder = out / "results/figures"
    order = sorted(FIGURES.values(), key=lambda f: f.name not in FIRST)
    drawn = {f.title: folder / f"{f.name}.png" for f in order}
    return {title: file for title, file in drawn.items() if file.is_file()}


def _shown(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines that Snakemake prints, and show how far it is."""
    bar = None
    rule = ""
    for line in lines:
        yield line
        if found := re.match(r"(?:local)?rule (\w+):", line):
            rule = found[1].replace("_", " ")
        if found := re.match(r"(\d+) of (\d+) steps", line):
            bar = bar or Bar(int(found[2]), "diagnosis", unit="job")
            bar.n = int(found[1])
            bar.set_postfix_str(rule, refresh=True)
    if bar:
        bar.close()
