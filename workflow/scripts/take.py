from healscope.job import job
from healscope.models.linked import take

with job(snakemake, torch=True):
    p, w = snakemake.params, snakemake.wildcards
    name = f"{w.track}, {w.checkpoint}"
    take(name, p.source, p.beside, snakemake.output[0], p.on, p.end_token, p.pickles)
