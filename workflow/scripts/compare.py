from healscope import provenance
from healscope.config import Spectra
from healscope.job import job
from healscope.spectra import compare, factors
from healscope.spectra.schemas import COMPARISON

with job(snakemake, torch=True):
    w, p, files = snakemake.wildcards, snakemake.params, snakemake.input
    points = {name: factors.read(file) for name, file in zip(p.points, files, strict=True)}
    pairs = [tuple(pair.split("--")) for pair in p.pairs]
    settings, seed = Spectra.model_validate(p.spectra), int(w.seed)
    label = f"compare {w.track} seed {w.seed}"
    rows = compare.compare_points(points, pairs, settings, seed, label)
    used = {"spectra": p.spectra, "pairs": p.pairs}
    record = provenance.record(used, {"seed": seed}, provenance.hashes(files))
    provenance.write_table(
        snakemake.output[0], rows.assign(track=w.track, seed=seed), record, COMPARISON
    )
