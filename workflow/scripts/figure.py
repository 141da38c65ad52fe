from healscope import provenance
from healscope.config import FigureStyle
from healscope.figures.catalogue import render
from healscope.job import job

with job(snakemake):
    files, params = snakemake.input, snakemake.params
    style = FigureStyle.model_validate(params.figures)
    frame = provenance.read_table(files.table)
    answers = provenance.read_table(files.gate[0]) if files.gate else None
    record = provenance.record(params.figures, inputs=provenance.hashes(files))
    more = {"published": list(files.published), "tracks": params.get("tracks", {})}
    render(params.figure, frame, style, *snakemake.output, record, answers, **more)
