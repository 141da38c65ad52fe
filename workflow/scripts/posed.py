from healscope import provenance
from healscope.job import job
from healscope.tasks import build
from healscope.tasks.posing import Protocol
from healscope.tasks.schemas import POSED

with job(snakemake):
    p = snakemake.params
    task = build(snakemake.wildcards.task, p.task)
    protocol = Protocol.model_validate(p.protocol)
    posed = task.posed(provenance.read_table(snakemake.input.problems), protocol)
    record = provenance.record(
        {"task": p.task, "protocol": p.protocol},
        {"task": task.seed, "hands": protocol.seed},
        provenance.hashes(snakemake.input),
    )
    provenance.write_table(snakemake.output[0], posed, record, POSED)
