from healscope import provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.probes.hidden_states import last_prompt_states

with job(snakemake.log[0], snakemake.threads, torch=True):
    w, files, limit = snakemake.wildcards, snakemake.input, snakemake.params.problems
    manifest = landmarks.manifest(files.landmarks, w.model, w.seed, w.landmark)
    rows = last_prompt_states(manifest, provenance.read_table(files.problems), limit)
    rows = rows.assign(model=w.model, seed=int(w.seed), landmark=w.landmark)
    record = provenance.record(
        {"problems": limit}, inputs=provenance.hashes([manifest, files.problems])
    )
    provenance.write_table(snakemake.output[0], rows, record, "hidden-states-probe")
