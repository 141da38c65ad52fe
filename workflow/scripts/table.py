from healscope import provenance, schemas, tables
from healscope.config import Statistics
from healscope.job import job

with job(snakemake):
    p, name = snakemake.params, snakemake.wildcards.table
    inputs = {kind: list(files) for kind, files in snakemake.input.items()}
    study = {"sft": p.sft, "drawn": p.drawn, "recipes": p.recipes, "landmark": p.landmark}
    study |= {"stages": p.stages, **({"tracks": p.tracks} if p.get("tracks") else {})}
    settings = tables.Settings(Statistics.model_validate(p.statistics), **study)
    frame = tables.build(name, inputs, settings)
    config = {"statistics": p.statistics, **study}
    record = provenance.record(config, inputs=provenance.hashes(snakemake.input))
    stored = {**record, "lost_inputs": p.lost_inputs}
    schema = schemas.by_path(snakemake.output[0])
    provenance.write_table(snakemake.output[0], frame, stored, schema)
