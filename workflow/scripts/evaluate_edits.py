from healscope import artifacts
from healscope.config import Evaluation
from healscope.evaluation import landmarks
from healscope.evaluation.evaluate import evaluate
from healscope.evaluation.outputs import read_tasks, targets, variant_names
from healscope.job import job
from healscope.models import checkpoints
from healscope.spectra import edits, factors

with job(snakemake.log[0], snakemake.threads, torch=True):
    p, files = snakemake.params, snakemake.input
    name, seed = snakemake.wildcards.model, snakemake.wildcards.seed
    start = landmarks.manifest(files.landmarks, name, seed, p.target_name)
    names = variant_names(snakemake.output)
    sources = {
        e: {"inputs": [start, files.target, files.parent], "config": {"edit": e}} for e in names
    }
    wanted = targets(
        sources,
        list(p.tasks),
        files.problems,
        snakemake.output,
        {"evaluation": p.evaluation, "tasks": p.tasks},
        {"model": name, "seed": int(seed), "stage": p.stage},
    )
    model, tokenizer = checkpoints.load_model(start)
    target, parent = factors.read(files.target), factors.read(files.parent)
    evaluate(
        model,
        tokenizer,
        [edits.variant(e, edits.Edit(*artifacts.parse_edit(e)), target, parent) for e in names],
        read_tasks(p.tasks, files.problems, splits=("held_out",)),  # all that their tables show
        wanted,
        Evaluation.model_validate(p.evaluation),
        f"edits {p.stage} {name} seed {seed}",
    )
