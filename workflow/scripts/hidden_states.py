from healscope import provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.probes.geometry import describe
from healscope.probes.hidden_states import states_at
from healscope.probes.schemas import HIDDEN_STATES

with job(snakemake, torch=True):
    w, files, limit = snakemake.wildcards, snakemake.input, snakemake.params.problems
    there = provenance.read_json(files.landmarks)["landmarks"]
    chosen = {n: landmarks.manifest(files.landmarks, w.track, w.seed, n) for n in there}
    states = states_at(chosen, provenance.read_table(files.problems), limit)
    rows = describe(states).assign(track=w.track, seed=int(w.seed))
    used = provenance.hashes([*chosen.values(), files.problems])
    record = provenance.record({"problems": limit, "landmarks": chosen}, inputs=used)
    provenance.write_table(snakemake.output[0], rows, record, HIDDEN_STATES)
