from pathlib import Path

from healscope import provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.models import checkpoints, integrity
from healscope.spectra import factors

with job(snakemake.log[0], snakemake.threads, torch=True):
    w, roles = snakemake.wildcards, snakemake.params.matrices
    manifest = landmarks.manifest(snakemake.input.landmarks, w.model, w.seed, w.landmark)
    if snakemake.params.check_random:
        integrity.check_folder(Path(manifest).parent)
    record = provenance.record({"matrices": roles}, inputs=provenance.hashes([manifest]))
    factors.write(snakemake.output[0], checkpoints.load_weights(manifest), roles, record)
