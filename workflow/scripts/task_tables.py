from healscope import provenance
from healscope.config import GeneralPointsTask
from healscope.job import job
from healscope.tasks import build, problems

with job(snakemake):
    settings = GeneralPointsTask.model_validate(snakemake.params.task)
    task = build(snakemake.wildcards.task, settings)
    record = provenance.record(snakemake.params.task, {"task": settings.seed})
    split = settings.held_out, settings.seed
    out = snakemake.output
    for file, frame, schema in (
        (out.problems, problems.problem_table(task, *split, settings.orders), "problems"),
        (out.sft, problems.sft_table(task, *split), "sft-pool"),
        (out.rl, problems.rl_table(task, *split), "rl-pool"),
    ):
        provenance.write_table(file, frame, record, schema)
