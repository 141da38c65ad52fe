from pathlib import Path

from healscope import claims, provenance
from healscope.config import Statistics
from healscope.job import job

with job(snakemake.log[0], snakemake.threads):
    inputs = {name: list(files) for name, files in snakemake.input.items()}
    frame = claims.measure(inputs, Statistics.model_validate(snakemake.params.statistics))
    hashes = provenance.hashes(snakemake.input)
    record = provenance.record(snakemake.params.statistics, inputs=hashes)
    provenance.write_table(
        snakemake.output.table, frame, {**record, "losses": snakemake.params.losses}
    )
    Path(snakemake.output.text).write_text(claims.text(frame, record))
