from pathlib import Path

from healscope.config import Evaluation
from healscope.evaluation.evaluate import evaluate
from healscope.evaluation.outputs import read_tasks, targets, variant_names
from healscope.job import job
from healscope.models import checkpoints
from healscope.models.variants import from_checkpoint

with job(snakemake.log[0], snakemake.threads, torch=True):
    p, files = snakemake.params, snakemake.input
    name, seed = snakemake.wildcards.model, snakemake.wildcards.seed
    by_name = {Path(m).parent.name: m for m in files.manifests}
    manifests = {c: by_name[c] for c in variant_names(snakemake.output)}
    sources = {c: {"inputs": [m], "config": {}} for c, m in manifests.items()}
    wanted = targets(
        sources,
        list(p.tasks),
        files.problems,
        snakemake.output,
        {"evaluation": p.evaluation, "tasks": p.tasks},
        {"model": name, "seed": int(seed)},
    )
    model, tokenizer = checkpoints.load_model(files.manifests[0])
    evaluate(
        model,
        tokenizer,
        [from_checkpoint(c, m) for c, m in manifests.items()],
        read_tasks(p.tasks, files.problems),
        wanted,
        Evaluation.model_validate(p.evaluation),
        f"evaluate {name} seed {seed}",
    )
