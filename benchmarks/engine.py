"""Ten edits evaluated by one process, against ten processes of one edit each, by both engines.

    python benchmarks/engine.py [INTERPRETER OF VLLM [TIMED]]

Edits of a random model of the tiny world's shape answer all held-out problems of the default study
with a face card, greedily, and are judged, as the workflow's jobs do it. Times are CPU seconds of
all processes, imports and all, and wall seconds, which say more where nothing else runs; factors of
the SVDs were computed before. One thread; vLLM in float32. Of the ten processes TIMED are run
(default: all), and their mean counts ten times.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def study():
    from healscope import config

    return config.load(yaml.safe_load((ROOT / "config/config.yaml").read_text()))


def make(folder: Path) -> None:
    """A random model, published as `target`, and as `parent` another one half a percent away."""
    import torch

    from healscope.models import checkpoints, tokens
    from healscope.spectra import factors
    from healscope.tasks import build
    from healscope.training.base import scratch_model

    shape = study().models["tiny"].scratch.architecture.model_copy(update={"init_std": 0.2})
    task = build("gp3", study().tasks["gp3"])
    tokenizer = tokens.word_tokenizer(task.words())
    model = scratch_model(shape, tokenizer, seed=0)
    for place in ("target", "parent"):
        checkpoints.save_weights(folder / "staged", model, tokenizer)
        checkpoints.publish(folder / "staged", folder / place / "checkpoint.json", {})
        factors.load(folder / place, ROLES, folder / "cache")
        with torch.no_grad():
            for w in model.parameters():
                w.add_(0.005 * w.std() * torch.randn_like(w))


def job(folder: Path, engine: str, python: str, shares: list[float]) -> None:
    """One process: it loads the target, and puts one edit after the other in its place."""
    import torch

    from healscope.config import Protocol, Vllm
    from healscope.edit_names import along
    from healscope.engines import Process, evaluating
    from healscope.evaluation.attempts import Asker, attempts
    from healscope.models.stored import Stored
    from healscope.spectra import factors
    from healscope.spectra.sweep import Pair, Sweep
    from healscope.tasks import build
    from healscope.tasks.posing import all_problems
    from healscope.tasks.tables import rules_differ

    torch.set_num_threads(1)
    task, settings = build("gp3", study().tasks["gp3"]), study().evaluation
    posed = all_problems(task.problem_table())
    posed = posed[(posed["split"] == "held_out") & rules_differ(posed)]
    folders = folder / "target", folder / "parent"
    cached = (factors.load(f, ROLES, folder / "cache") for f in folders)
    variants = Sweep(Pair(*map(Stored, folders), *cached)).variants(
        [along("directions", "rank", share) for share in shares]
    )
    vllm = Process(Vllm(python=python, dtype="float32"), str(folder / "job.log"))
    process = vllm if engine == "vllm" else None
    start = str(folders[0] / "checkpoint.json")
    answered = 0
    with evaluating(start, settings.batch_size, process) as (own, tokenizer):
        for _ in own.each(variants):
            ask = Asker(own, tokenizer, settings, Protocol(), "")
            answered += len(attempts(ask, task, posed, Protocol()))
    print(json.dumps({"answers": answered}))


def seconds(folder: Path, engine: str, python: str, chunks: list[list[float]]) -> tuple:
    """(CPU, wall) seconds of one process for each chunk of shares, one after the other, a chunk."""
    began, before = time.perf_counter(), os.times()
    for shares in chunks:
        subprocess.run(
            [sys.executable, __file__, "--job", str(folder), engine, python, *map(str, shares)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    after, n = os.times(), len(chunks)
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return used / n, (time.perf_counter() - began) / n


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--job"]:
        folder, engine, python, *shares = arguments[1:]
        job(Path(folder), engine, python, [float(s) for s in shares])
        return
    python = arguments[0] if arguments else str(ROOT / ".venv-vllm/bin/python")
    timed = int(arguments[1]) if len(arguments) > 1 else len(SHARES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        print(f"ten edits by each engine; {timed} of ten single processes timed")
        for engine in ("vllm", "hf"):
            together = seconds(folder, engine, python, [SHARES])
            apart = [
                10 * s for s in seconds(folder, engine, python, [[s] for s in SHARES[-timed:]])
            ]
            for what, one, ten in zip(("CPU", "wall"), together, apart, strict=True):
                print(
                    f"{engine:5s} {what:4s} one process {one:6.1f} s, ten {ten:6.1f} s: "
                    f"{ten / one:.1f} times",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
