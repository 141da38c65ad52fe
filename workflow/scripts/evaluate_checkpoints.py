from healscope import artifacts
from healscope.engines import Process
from healscope.evaluation.outputs import Sections, evaluate_outputs, variant_names
from healscope.job import job
from healscope.models.variants import from_checkpoint
from healscope.tasks.tables import held_out

with job(snakemake, torch=True):
    p = snakemake.params
    files, (name, seed) = snakemake.input, (snakemake.wildcards.track, snakemake.wildcards.seed)
    by_name = {artifacts.parse(artifacts.CHECKPOINT, m)["checkpoint"]: m for m in files.manifests}
    manifests = {c: by_name[c] for c in variant_names(snakemake.output)}
    evaluate_outputs(
        [from_checkpoint(c, m) for c, m in manifests.items()],
        {c: {"inputs": [m], "config": {}} for c, m in manifests.items()},
        files.manifests[0],
        Sections(p.evaluation, p.protocols, p.tasks, p.get("vllm"), p.get("rules")),
        files.problems,
        snakemake.output,
        {"track": name, "seed": int(seed)},
        f"evaluate {name} seed {seed}",
        Process.of(snakemake),
        keep=(lambda t: held_out(t, p.rules)) if p.get("rules") else None,
    )
