from healscope import provenance
from healscope.evaluation import landmarks
from healscope.findings.rows import first_attempts, with_steps
from healscope.job import job

with job(snakemake):
    p, w = snakemake.params, snakemake.wildcards
    rows = with_steps(first_attempts(snakemake.input))
    chosen = landmarks.choose(rows, p.maxood, p.end, p.rl)
    record = provenance.record(
        {"maxood": p.maxood, "end": p.end, "rl": p.rl},
        {"seed": int(w.seed)},
        provenance.hashes(snakemake.input),
    )
    content = {"track": w.track, "seed": int(w.seed), "landmarks": chosen, "provenance": record}
    provenance.write_json(snakemake.output[0], content)
