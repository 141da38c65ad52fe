from pathlib import Path

from healscope import artifacts, claims, provenance
from healscope.config import Statistics
from healscope.job import job
from healscope.schemas import SCHEMAS
from healscope.tables import Settings

with job(snakemake):
    p, out = snakemake.params, snakemake.output
    inputs = {kind: list(files) for kind, files in snakemake.input.items() if kind != "gate"}
    study = {"sft": p.sft, "drawn": p.drawn, "recipes": p.recipes, "landmark": p.landmark}
    study |= {"stages": p.stages, "primary": p.primary, "contrast": p.contrast}
    settings = Settings(Statistics.model_validate(p.statistics), **study)
    frame = claims.measure(inputs, settings)
    answers = provenance.read_table(snakemake.input.gate)
    config = {"statistics": p.statistics, **study}
    record = provenance.record(config, inputs=provenance.hashes(snakemake.input))
    provenance.write_table(
        out.table, frame, {**record, "lost_inputs": p.lost_inputs}, SCHEMAS["claims"]
    )
    added = claims.seeds_before(artifacts.CLAIMED_SEEDS, p.seeds)
    Path(out.text).write_text(claims.text(frame, answers, record, added), encoding="utf-8")
