from healscope import provenance
from healscope.job import job
from healscope.tasks import build

with job(snakemake):
    task, out = build(snakemake.wildcards.task, snakemake.params.task), snakemake.output
    record = provenance.record(snakemake.params.task, {"task": task.seed})
    for file, frame, schema in (
        (out.problems, task.problem_table(), "problems"),
        (out.sft, task.sft_table(), "sft-pool"),
        (out.rl, task.rl_table(), "rl-pool"),
    ):
        provenance.write_table(file, frame, record, schema)
