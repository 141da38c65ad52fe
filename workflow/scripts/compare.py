from healscope import provenance
from healscope.job import job
from healscope.spectra import compare, factors

with job(snakemake.log[0], snakemake.threads, torch=True):
    w, fractions = snakemake.wildcards, snakemake.params.fractions
    a, b = snakemake.input.a, snakemake.input.b
    rows = compare.compare(factors.read(a), factors.read(b), fractions)
    rows = rows.assign(model=w.model, seed=int(w.seed), pair=f"{w.a}--{w.b}")
    record = provenance.record({"fractions": fractions}, inputs=provenance.hashes([a, b]))
    provenance.write_table(snakemake.output[0], rows, record, "comparison")
