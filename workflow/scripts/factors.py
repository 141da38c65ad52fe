from healscope import artifacts, provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.models import integrity
from healscope.progress import track
from healscope.spectra import factors

with job(snakemake, torch=True):
    w, p = snakemake.wildcards, snakemake.params
    todo = list(zip(p.points, snakemake.output, strict=True))
    for point, output in track(todo, f"factors {w.track} seed {w.seed}", len(todo)):
        source = landmarks.manifest(snakemake.input.landmarks, w.track, w.seed, point)
        precision = p.get("precision", "float64")
        stored = factors.load(source, p.matrices, artifacts.FACTORS_CACHE, precision=precision)
        if p.check_random:
            integrity.check_folder(stored.opened.folder)
        record = provenance.record({"matrices": p.matrices}, inputs=provenance.hashes([source]))
        factors.write(output, stored, record)
