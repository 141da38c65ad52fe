from healscope import provenance
from healscope.job import job
from healscope.tasks import build
from healscope.training import pools
from healscope.training.schemas import PASS_RATES

with job(snakemake, torch=True):
    p, files, names = snakemake.params, snakemake.input, snakemake.wildcards
    seed = int(names.seed)
    task = build("train", p.task)
    prompts = provenance.read_table(files.prompts)
    label = f"pass rates {names.track} seed {seed} {names.checkpoint}"
    rates = pools.measure(
        files.manifest, prompts, task, p.pools["problems"], p.pools["samples"],
        p.max_new_tokens, seed, label,
    )  # fmt: skip
    config = {"pools": p.pools, "task": p.task, "max_new_tokens": p.max_new_tokens}
    record = provenance.record(config, {"seed": seed}, provenance.hashes(files))
    frame = rates.assign(track=names.track, seed=seed)
    provenance.write_table(snakemake.output[0], frame, record, PASS_RATES)
