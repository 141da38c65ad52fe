"""`healscope export`: any edit of a checkpoint as a Hugging Face folder, without Snakemake.
`healscope plan`: what a study costs (`healscope.planning`).
`healscope power`: how likely other seeds and problems would decide a study's claims
(`healscope.planning.power`).
`healscope check-task`: what a task does not keep of what every task has to
(`healscope.tasks.contract`).
`healscope dequantise`: a GGUF file as a Hugging Face folder (`healscope.models.gguf`).
`healscope diagnose`: what fine-tuning cost, from a base and its checkpoints
(`healscope.diagnose`).
`healscope weights`: what an update of the weights is like (`healscope.spectra.glance`).
`healscope compare`: models from files of their outcomes (`healscope.outcomes`).
`healscope repair`: the edit that a study picks, as a model with a card (`healscope.repair`).
`healscope snakefile`: where the workflow of this installation is (`healscope.location`)."""

import argparse
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from healscope import __version__
from healscope.errors import HealscopeError, sentence  # commands load the rest: --help is quick
from healscope.outcomes import command as compare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 1 after an error, or if a check of a task failed.

    That of `compare` and `diagnose` is their answer, and 3 after any error
    (`healscope.outcomes.gate`).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names and minus signs may be beyond its encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _with_own_codes(given) if given[:1] in (["compare"], ["diagnose"]) else _run(given)
        print(end="", flush=True)
        return code
    except BrokenPipeError:  # who reads has enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (HealscopeError, OSError) as error:
        said = sentence(error)
        if said is None:
            raise
        print(f"healscope: {said}", file=sys.stderr)
        return 1


def _with_own_codes(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code, which is its answer: Python and argparse end with 1
    and 2 after errors, for which it has a code of its own."""
    from healscope.outcomes.gate import WRONG_INPUT
    from healscope.outcomes.words import printable

    try:
        return _run(arguments)
    except BrokenPipeError:
        raise
    except SystemExit as stop:  # of argparse
        return WRONG_INPUT if stop.code else 0
    except Exception as error:  # a fault of ours must not look like an answer
        said = sentence(error)
        if said is None:
            traceback.print_exc()
        else:
            print(f"healscope: {printable(said)}", file=sys.stderr)
        return WRONG_INPUT


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="healscope",
        description="Compare, diagnose and repair fine-tuned models, and plan studies. "
        "Studies are run by snakemake.",
    )
    parser.add_argument("--version", action="version", version=f"healscope {__version__}")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("export", help="write an edited checkpoint as a Hugging Face folder")
    one.add_argument("--target", required=True, type=Path, help="folder of the model to edit")
    one.add_argument(
        "--parent", required=True, type=Path, help="folder of the model it goes back to"
    )
    one.add_argument("--edit", required=True, help="name of the edit, as directions-rank-0.25")
    one.add_argument("--out", required=True, type=Path, help="new folder")
    one.add_argument(
        "--matrices", help="roles of the matrices that edits see, as q,k,v; else as in a study"
    )
    one.add_argument("--stream", default="", help="names the random numbers of a control")
    one.set_defaults(run=_export)
    two = commands.add_parser("plan", help="what a study has left to do, and what that costs")
    two.add_argument("targets", nargs="*", help="files or rules; before --configfile")
    two.add_argument("--configfile", nargs="+", default=[], help="as Snakemake's")
    two.add_argument("--directory", help="as Snakemake's: where the results are")
    two.add_argument(
        "--at-once",
        type=_at_least(1),
        default=8,
        help="jobs of SFT or RL at a time, for the peak of disk",
    )
    two.set_defaults(run=_plan)
    nine = commands.add_parser("power", help="how likely more seeds and problems decide the claims")
    nine.add_argument(
        "claims", nargs="?", type=Path, default=Path("results/tables/claims.parquet"),
        help="table of claims of a study of two seeds or more (results/tables/claims.parquet)",
    )  # fmt: skip
    nine.add_argument("--seeds", nargs="+", type=_at_least(1), default=[3, 5, 10], help="(3 5 10)")
    nine.add_argument(
        "--instances", nargs="+", type=_at_least(1), default=[],
        help="numbers of instances (those of the study, twice and four times as many)",
    )  # fmt: skip
    nine.set_defaults(run=_power)
    three = commands.add_parser("check-task", help="whether a task is one that can be studied")
    three.add_argument(
        "family",
        help="a family's name, the Python file of a task of one's own, or with --configfile the "
        "name of a task in it",
    )
    three.add_argument("--configfile", nargs="+", default=[], help="as Snakemake's")
    three.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="as in a config"
    )
    three.add_argument("--rendering", choices=["compact", "json"], help="if not the task's own")
    three.set_defaults(run=_check_task)
    four = commands.add_parser("dequantise", help="write a GGUF file as a Hugging Face folder")
    four.add_argument("file", type=Path, help="the GGUF file")
    four.add_argument("folder", type=Path, help="new folder")
    four.add_argument("--tokenizer", type=Path, help="folder of a tokenizer, if not the file's own")
    four.set_defaults(run=_dequantise)
    _add_diagnose(commands)
    six = commands.add_parser("weights", help="an update of the weights, compared with random ones")
    six.add_argument("a", type=Path, help="folder of the model before: a base")
    six.add_argument("b", type=Path, help="folder of the model or PEFT adapter after")
    six.add_argument("--out", type=Path, help="write all rows to this Parquet file")
    six.add_argument("--no-controls", action="store_true", help="faster, without random updates")
    six.set_defaults(run=_weights)
    compare.add(commands)
    seven = commands.add_parser("repair", help="write the repair that a study picks, with a card")
    seven.add_argument(
        "folder", nargs="?", type=Path, default=Path("diagnosis"),
        help="that of healscope diagnose, or of a study (diagnosis)",
    )  # fmt: skip
    seven.add_argument("--out", required=True, type=Path, help="new folder")
    seven.add_argument("--edit", default="", help="another edit of the study than the one picked")
    seven.add_argument("--configfile", nargs="+", default=[], help="of a study of your own")
    seven.add_argument("--model", default="", help="which, where the study has several")
    seven.add_argument("--seed", type=int, default=0, help="which, where the study has several")
    seven.set_defaults(run=_repair)
    eight = commands.add_parser(
        "snakefile", help="print where the workflow is, for snakemake --snakefile"
    )
    eight.set_defaults(run=_snakefile)
    given = parser.parse_args(arguments)
    try:
        return given.run(given) or 0
    except SystemExit as stop:  # argparse is done: this is code of a task
        raise HealscopeError(
            f"the task ended the program (SystemExit: {stop.code}), so there is no result; take "
            "calls of exit out of it"
        ) from None


def _at_least(least: int) -> Callable[[str], int]:
    """Return a type of an argument: a whole number from `least` on."""

    def whole_number(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return number

    return whole_number


def _add_diagnose(commands) -> None:
    one = commands.add_parser(
        "diagnose", help="what fine-tuning cost, from a base and its checkpoints, and a repair"
    )
    one.add_argument("base", nargs="?", help="folder or hub id where SFT started")
    one.add_argument(
        "checkpoints", nargs="*", help="checkpoints or adapters, folders of a run, or STEP=FOLDER"
    )
    one.add_argument(
        "--rl", action="append", default=[], metavar="[STEP=]FOLDER",
        help="a checkpoint after RL, by the SFT step that RL started from (the last)",
    )  # fmt: skip
    one.add_argument("--data", metavar="FILE", help="problems like those trained on (ID)")
    one.add_argument(
        "--ood", action="append", default=[], metavar="[NAME=]FILE",
        help="problems that training might make it forget",
    )  # fmt: skip
    for key, about in (
        ("prompt", "field or template of what is asked (prompt)"),
        ("answer", "field or template of what is right (answer)"),
        ("verdict", "how answers are compared (exact)"),
    ):
        one.add_argument(f"--{key}", help=f"of --data and --ood: {about}")
    one.add_argument("--benchmarks", help="of lm-evaluation-harness, the trained one first: a,b,c")
    one.add_argument("--task", help="a built-in family, or the Python file of a task")
    one.add_argument("--out", type=Path, default=Path("diagnosis"), help="new folder (diagnosis)")
    one.add_argument(
        "--max-new-tokens",
        type=_at_least(1),
        default=256,
        help="tokens of the longest answer (256)",
    )
    one.add_argument(
        "--fail-if", action="append", default=[], metavar="CONDITION",
        help='"ood < -3", as in compare: exit code 1 if the last checkpoint lost over 3 points',
    )  # fmt: skip
    one.add_argument(
        "--cores", type=_at_least(1), default=os.cpu_count(), help="jobs at a time (all cores)"
    )
    one.add_argument("--dry-run", action="store_true", help="write the config; say what it costs")
    one.set_defaults(run=_diagnose)


def _diagnose(given: argparse.Namespace) -> int:
    from healscope import diagnose
    from healscope.outcomes import words

    new = False
    if given.base is None:
        if not (given.out / diagnose.CONFIG).is_file():
            raise HealscopeError(
                f"there is no {given.out / diagnose.CONFIG} to run again; name the base and its "
                "checkpoints, as healscope diagnose base/ runs/sft/ --data id.jsonl --ood ood.jsonl"
            )
    else:
        config = diagnose.study(
            given.out,
            given.base,
            given.checkpoints,
            given.rl,
            _asked(given),
            given.max_new_tokens,
        )
        new = diagnose.write(given.out, config)
    try:
        study = diagnose.check(given.out)
        diagnose.check_checkpoints(given.out, study)
        diagnose.check_conditions(study, given.fail_if)
    except HealscopeError:
        if new:  # the command that mends it is another
            (given.out / diagnose.CONFIG).unlink()
        raise
    if given.dry_run:
        print(diagnose.cost(given.out))
        return 0
    diagnose.run(given.out, given.cores)
    report = diagnose.compared(given.out, study, given.fail_if)
    page = given.out / "compare.html"
    print(f"{report['answer']}\nhealscope: with figures, and item by item: {page}")
    if not report["gate"]:
        return 0
    print(words.gate(report["gate"]))
    return report["gate"]["code"]


def _asked(given: argparse.Namespace) -> dict[str, Any]:
    """Return the section of the task that `healscope diagnose` asks."""
    from healscope import diagnose
    from healscope.tasks import contract

    ways = {"--data": given.data, "--benchmarks": given.benchmarks, "--task": given.task}
    named = [way for way, value in ways.items() if value]
    if len(named) != 1:
        raise HealscopeError(
            f"give one of {', '.join(ways)}: it says what the checkpoints are asked"
            + (f", not {' and '.join(named)}" if named else "")
        )
    keys = {key: getattr(given, key) for key in ("prompt", "answer", "verdict")}
    if given.data:
        if not given.ood:
            raise HealscopeError("--data needs --ood FILE: what training might make it forget")
        return diagnose.data_task(given.out, given.data, given.ood, keys)
    if given.ood or any(keys.values()):
        raise HealscopeError(
            f"--ood, --prompt, --answer and --verdict go with --data, not {named[0]}"
        )
    if given.benchmarks:
        return diagnose.benchmark_task(given.benchmarks.split(","))
    return contract.section(given.task, {}, "json")


def _repair(given: argparse.Namespace) -> None:
    from healscope.repair import repair

    repair(given.folder, given.out, given.edit, given.configfile, given.model, given.seed)
    print(f"healscope: {given.out / 'README.md'} says what it gives and costs")


def _export(given: argparse.Namespace) -> None:
    from healscope.config import Spectra
    from healscope.repair.export import export

    roles = given.matrices.split(",") if given.matrices else Spectra().matrices
    export(given.target, given.parent, given.edit, given.out, roles, given.stream)


def _dequantise(given: argparse.Namespace) -> None:
    from healscope.models.gguf import dequantise

    dequantise(given.file, given.folder, given.tokenizer)
    print(f"{given.folder} is the model in float32, with its tokenizer and chat template")


def _weights(given: argparse.Namespace) -> None:
    import torch

    from healscope.spectra import glance

    torch.set_num_threads(1)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)  # before the work, which takes a while
    rows = glance.glance(given.a, given.b, not given.no_controls, _base_of(given.a, given.b))
    if given.out:
        rows.to_parquet(given.out, index=False)
    print(glance.summary(rows))
    if given.out:
        print(f"healscope: all rows are in {given.out}")


def _base_of(a: Path, b: Path) -> Path | None:
    """Return the model that an adapter `b` is on: `a`; None where `b` is a model."""
    from healscope.config import sources

    return a if sources.is_adapter(b) else None


def _snakefile(_: argparse.Namespace) -> None:
    from healscope.location import SNAKEFILE

    print(SNAKEFILE)


def _plan(given: argparse.Namespace) -> None:
    from healscope.planning import plan

    print(plan(given.configfile, given.targets, given.directory, given.at_once))


def _power(given: argparse.Namespace) -> None:
    from healscope.planning import power

    print(power.table(given.claims, given.seeds, given.instances))


def _check_task(given: argparse.Namespace) -> int:
    from healscope.tasks import contract

    options = dict(_option(text) for text in given.option)
    if given.configfile:
        section = {**_section(given.configfile, given.family), **options}
    else:
        section = contract.section(given.family, options, given.rendering)
    checked = contract.opened(section)
    failed = False
    for line in contract.report(checked):
        print(line, flush=True)
        failed |= line.startswith("FAIL")
    return int(failed)


def _section(configfiles: Sequence[str], name: str) -> dict[str, Any]:
    """Return the section of a task in configs."""
    from healscope.config.files import read_together

    tasks = read_together(configfiles).get("tasks")
    if not isinstance(tasks, dict) or not isinstance(tasks.get(name), dict):
        there = ", ".join(tasks) if isinstance(tasks, dict) else "none"
        raise HealscopeError(f"{configfiles[-1]} has no task '{name}', but {there}; correct it")
    return tasks[name]


def _option(text: str) -> tuple[str, Any]:
    """Parse `key=value`; the value is YAML, as it would be in a config."""
    import yaml

    key, separator, value = text.partition("=")
    if not separator:
        raise HealscopeError(f"--option {text}: give it as key=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise HealscopeError(f"--option {text}: the value is no YAML ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
