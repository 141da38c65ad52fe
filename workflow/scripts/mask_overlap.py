import pandas as pd

from healscope import provenance
from healscope.evaluation import landmarks
from healscope.job import job
from healscope.spectra import masks, sources
from healscope.spectra.schemas import MASK_OVERLAP

with job(snakemake, torch=True):
    p, files = snakemake.params, snakemake.input.landmarks
    pairs = [tuple(pair.split("--")) for pair in p.pairs]
    points = sorted({point for pair in pairs for point in pair})
    frames, used = [], list(files)
    for name, of_model in p.models.items():  # model -> seed -> file of landmarks
        manifests = {
            seed: {point: landmarks.manifest(file, name, seed, point) for point in points}
            for seed, file in of_model.items()
        }
        used += [m for by_point in manifests.values() for m in by_point.values()]
        opened = {
            seed: {point: sources.weights(m) for point, m in by_point.items()}
            for seed, by_point in manifests.items()
        }
        frames.append(masks.overlaps(opened, pairs, p.matrices).assign(track=name))
    config = {"matrices": p.matrices, "pairs": p.pairs}
    record = provenance.record(config, inputs=provenance.hashes(dict.fromkeys(used)))
    frame = pd.concat(frames, ignore_index=True)
    provenance.write_table(snakemake.output[0], frame, record, MASK_OVERLAP)
