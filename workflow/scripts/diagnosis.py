from pathlib import Path

from healscope import provenance
from healscope.config import Statistics
from healscope.diagnosis import measure, page
from healscope.job import job
from healscope.schemas import SCHEMAS

with job(snakemake):
    p, out = snakemake.params, snakemake.output
    inputs = {kind: list(files) for kind, files in snakemake.input.items()}
    frame = measure.measure(inputs, p.stages, Statistics.model_validate(p.statistics))
    config = {name: getattr(p, name) for name in ("statistics", "stages", "matrices", "given")}
    record = provenance.record(config, inputs=provenance.hashes(snakemake.input))
    provenance.write_table(
        out.table, frame, {**record, "lost_inputs": p.lost_inputs}, SCHEMAS["diagnosis"]
    )
    tasks = p.task if isinstance(p.task, dict) else dict.fromkeys(frame["track"], p.task)
    alike = {m: page.same_weights(files) for m, files in p.manifests.items()}
    study = page.Study(tasks, p.given, p.stages, p.matrices, p.statistics["confidence"], alike)
    Path(out.page).write_text(
        page.text(frame, inputs["landmarks"], study, record), encoding="utf-8"
    )
