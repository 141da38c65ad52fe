from healscope import provenance, tables
from healscope.config import Statistics
from healscope.job import job

with job(snakemake.log[0], snakemake.threads):
    inputs = {name: list(files) for name, files in snakemake.input.items()}
    statistics = Statistics.model_validate(snakemake.params.statistics)
    sft = snakemake.params.sft
    frame = tables.build(snakemake.wildcards.table, inputs, statistics, sft)
    hashes = provenance.hashes(snakemake.input)
    record = provenance.record({**snakemake.params.statistics, "sft": sft}, inputs=hashes)
    stored = {**record, "losses": snakemake.params.losses}
    provenance.write_table(snakemake.output[0], frame, stored, snakemake.wildcards.table)
