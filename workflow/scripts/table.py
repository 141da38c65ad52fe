from pathlib import Path

from healscope import artifacts, findings, provenance
from healscope.job import job

with job(snakemake):
    p, out = snakemake.params, snakemake.output
    name = artifacts.parse(artifacts.TABLE, out[0])["table"]
    inputs = {kind: list(files) for kind, files in snakemake.input.items()}
    frame = findings.build(name, inputs, p.study)
    record = provenance.record(p.study, inputs=provenance.hashes(snakemake.input))
    stored = {**record, "lost_inputs": p.lost_inputs}
    finding, _ = findings.by_table(name)
    provenance.write_table(out[0], frame, stored, finding.schema)
    if finding.page:
        text = findings.page(name, frame, record, inputs, p.study)
        Path(out.page).write_text(text, encoding="utf-8")
