from healscope import artifacts
from healscope.evaluation import landmarks
from healscope.evaluation.outputs import Sections, evaluate_outputs, variant_names
from healscope.job import job
from healscope.spectra import edits, factors

with job(snakemake.log[0], snakemake.threads, torch=True):
    p, files = snakemake.params, snakemake.input
    name, seed = snakemake.wildcards.model, snakemake.wildcards.seed
    start = landmarks.manifest(files.landmarks, name, seed, p.target_name)
    target, parent = factors.read(files.target), factors.read(files.parent)
    inputs = [start, files.target, files.parent]
    todo = {e: edits.Edit(*artifacts.parse_edit(e)) for e in variant_names(snakemake.output)}
    evaluate_outputs(
        [edits.variant(e, edit, target, parent) for e, edit in todo.items()],
        {e: {"inputs": inputs, "config": {"edit": e}} for e in todo},
        start,
        Sections(p.evaluation, p.protocols, p.tasks),
        files.problems,
        snakemake.output,
        {"model": name, "seed": int(seed), "stage": p.stage},
        f"edits {p.stage} {name} seed {seed}",
        keep=lambda t: (t["split"] == "held_out") & (t["n_faces"] > 0),  # all that is shown
    )
