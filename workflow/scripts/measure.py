from healscope import artifacts, provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.measuring import Inputs, measurements

with job(snakemake, torch=True):
    p, w, files = snakemake.params, snakemake.wildcards, snakemake.input
    measurement = measurements()[p.measurement]
    if files.get("landmarks"):
        marks = provenance.read_json(files.landmarks)["landmarks"]
        # of landmarks those that there are; any other name is that of a checkpoint
        read = [n for n in p.reads if n in marks or n not in artifacts.POINT_NAMES]
        chosen = {n: landmarks.manifest(files.landmarks, w.track, w.seed, n) for n in read}
    else:
        place = {"track": w.track, "seed": w.seed}
        chosen = {n: artifacts.path(artifacts.CHECKPOINT, checkpoint=n, **place) for n in p.reads}
    used = {kind: files[kind] for kind in measurement.TABLES}
    inputs = Inputs(chosen, {kind: provenance.read_table(file) for kind, file in used.items()})
    label = f"{p.measurement} {w.track} seed {w.seed}"
    rows = measurement.measure(inputs, p.settings, int(w.seed), label)
    record = provenance.record(
        {**p.settings, "checkpoints": chosen},
        {"seed": int(w.seed)},
        provenance.hashes([*chosen.values(), *used.values()]),
    )
    rows = rows.assign(track=w.track, seed=int(w.seed))
    provenance.write_table(snakemake.output[0], rows, record, measurement.SCHEMA)
