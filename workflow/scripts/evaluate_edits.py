from pathlib import Path

from healscope.engines import Process
from healscope.evaluation import landmarks
from healscope.evaluation.outputs import Sections, evaluate_outputs, variant_names
from healscope.job import job
from healscope.models import checkpoints
from healscope.models.stored import Stored
from healscope.spectra import factors
from healscope.spectra.sweep import Pair, Sweep
from healscope.tasks.problem import SIDES
from healscope.tasks.tables import held_out

with job(snakemake, torch=True):
    p, files, w = snakemake.params, snakemake.input, snakemake.wildcards
    target, parent = (
        landmarks.manifest(files.landmarks, w.track, w.seed, p.points[end])
        for end in ("target", "parent")
    )
    checkpoints.verify(parent)
    pair = Pair(
        *(Stored(Path(manifest).parent) for manifest in (target, parent)),
        *(factors.read(manifest) for manifest in (files.target, files.parent)),
    )
    names = variant_names(snakemake.output)
    sweep = Sweep(pair, f"{w.track} {w.seed} {p.stage}", checkpoints.device())
    inputs = [target, parent, files.target, files.parent]
    evaluate_outputs(
        sweep.variants(names),
        {name: {"inputs": inputs, "config": {"edit": name, **p.points}} for name in names},
        target,
        Sections(p.evaluation, p.protocols, p.tasks, p.get("vllm"), p.get("rules")),
        files.problems,
        snakemake.output,
        {"track": w.track, "seed": int(w.seed), "stage": p.stage},
        f"edits {p.stage} {w.track} seed {w.seed}",
        Process.of(snakemake),
        keep=lambda t: held_out(t, p.get("rules", SIDES)),  # all that is shown
    )
