from healscope import provenance, tables
from healscope.config import Statistics
from healscope.job import job

with job(snakemake.log[0], snakemake.threads):
    inputs = {name: list(files) for name, files in snakemake.input.items()}
    statistics = Statistics.model_validate(snakemake.params.statistics)
    frame = tables.build(snakemake.wildcards.table, inputs, statistics)
    hashes = provenance.hashes(snakemake.input)
    record = provenance.record(snakemake.params.statistics, inputs=hashes)
    provenance.write_table(
        snakemake.output[0], frame, {**record, "losses": snakemake.params.losses}
    )
