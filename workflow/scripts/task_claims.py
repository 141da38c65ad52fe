from pathlib import Path

from healscope import provenance
from healscope.claims import tasks
from healscope.config import Statistics
from healscope.job import job
from healscope.schemas import SCHEMAS

with job(snakemake):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    claims, window = provenance.read_table(files.claims), provenance.read_table(files.window)
    settings = Statistics.model_validate(p.statistics)
    frame = tasks.measure(claims, window, p.tracks, settings)
    config = {"statistics": p.statistics, "tracks": p.tracks}
    record = provenance.record(config, inputs=provenance.hashes(files))
    provenance.write_table(out.table, frame, record, SCHEMAS["task-claims"])
    Path(out.page).write_text(tasks.page(frame, record), encoding="utf-8")
