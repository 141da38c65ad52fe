from healscope import provenance
from healscope.config import FigureStyle
from healscope.figures.catalogue import render
from healscope.job import job

with job(snakemake.log[0], snakemake.threads):
    style = FigureStyle.model_validate(snakemake.params.figures)
    frame = provenance.read_table(snakemake.input[0])
    record = provenance.record(snakemake.params.figures, inputs=provenance.hashes(snakemake.input))
    render(snakemake.params.figure, frame, style, *snakemake.output, record)
