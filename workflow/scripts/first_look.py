import sys

from healscope import findings, provenance
from healscope.config import FigureStyle
from healscope.figures.catalogue import FIGURES, render
from healscope.job import job

with job(snakemake):
    files, params, out = snakemake.input, snakemake.params, snakemake.output
    entry = FIGURES[params.figure]
    inputs = {kind: list(of_kind) for kind, of_kind in files.items()}
    frame = findings.build(entry.table, inputs, params.study)
    style = FigureStyle.model_validate(params.figures)
    record = provenance.record(params.figures, inputs=provenance.hashes(files))
    render(entry.name, frame, style, out.pdf, out.png, record, tracks=params.get("tracks", {}))
    said = entry.message(frame)
    print(f"healscope: the first figure, of one seed, is {out.png}: {said}", file=sys.stderr)
