from healscope import provenance
from healscope.job import job
from healscope.models import checkpoints

with job(snakemake):
    files = snakemake.input
    landmarks = provenance.read_json(files.landmarks)["landmarks"]
    record = provenance.record({}, inputs=provenance.hashes([files.manifest, files.landmarks]))
    checkpoints.drop(files.manifest, landmarks, record)
