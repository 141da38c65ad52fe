from healscope import provenance
from healscope.config import GeneralPointsTask, Protocol
from healscope.job import job
from healscope.tasks import build, hands

with job(snakemake):
    p = snakemake.params
    settings = GeneralPointsTask.model_validate(p.task)
    protocol = Protocol.model_validate(p.protocol)
    if protocol.problems == "all":
        table = provenance.read_table(snakemake.input.problems)
        posed = hands.all_problems(table, protocol.retried_orders)
    else:
        task = build(snakemake.wildcards.task, settings)
        split = settings.held_out, settings.seed
        posed = hands.drawn_hands(task, *split, protocol.hands, protocol.seed)
    record = provenance.record(
        {"task": p.task, "protocol": p.protocol},
        {"task": settings.seed, "hands": protocol.seed},
        provenance.hashes(snakemake.input),
    )
    provenance.write_table(snakemake.output[0], posed, record, "posed")
