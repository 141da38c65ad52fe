from healscope import provenance
from healscope.job import job
from healscope.tasks import build, schemas
from healscope.tasks.tables import require_enough

with job(snakemake):
    task, out = build(snakemake.wildcards.task, snakemake.params.task), snakemake.output
    record = provenance.record(snakemake.params.task, {"task": task.seed})
    problems = task.problem_table()
    if not task.one_sided:
        require_enough(task.name, problems)
    for file, frame, schema in (
        (out.problems, problems, schemas.PROBLEMS),
        (out.sft, task.sft_table(), schemas.SFT_POOL),
        (out.rl, task.rl_table(), schemas.RL_POOL),
    ):
        provenance.write_table(file, frame, record, schema)
