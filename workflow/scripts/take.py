from healscope.job import job
from healscope.models import taken

with job(snakemake, torch=True):
    p, w = snakemake.params, snakemake.wildcards
    name = f"{w.track}, {w.checkpoint}"
    taken.take(name, p.source, p.beside, snakemake.output[0])
