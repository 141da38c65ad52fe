from pathlib import Path

from healscope import claims, provenance
from healscope.config import Statistics
from healscope.job import job

with job(snakemake.log[0], snakemake.threads):
    inputs = {name: list(files) for name, files in snakemake.input.items() if name != "gate"}
    frame = claims.measure(inputs, Statistics.model_validate(snakemake.params.statistics))
    answers = provenance.read_table(snakemake.input.gate)
    hashes = provenance.hashes(snakemake.input)
    record = provenance.record(snakemake.params.statistics, inputs=hashes)
    stored = {**record, "losses": snakemake.params.losses}
    provenance.write_table(snakemake.output.table, frame, stored, "claims")
    Path(snakemake.output.text).write_text(claims.text(frame, answers, record))
