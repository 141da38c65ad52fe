import pandas as pd

from healscope import artifacts, provenance, schemas
from healscope.config import SFT, GeneralPointsTask
from healscope.job import job
from healscope.models import checkpoints
from healscope.tasks import build
from healscope.training import sft
from healscope.training.state import Workspace

with job(snakemake, torch=True):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    name, seed = snakemake.wildcards.model, int(snakemake.wildcards.seed)
    settings, arm = SFT.model_validate(p.sft), p.arm
    record = provenance.record(
        {"sft": p.sft, "arm": arm, "task": p.task, "max_new_tokens": p.max_new_tokens},
        {"seed": seed},
        provenance.hashes([files.start, files.pool, files.problems]),
    )
    work = Workspace(p.state, record["fingerprint"])
    rows = sft.train(
        settings,
        arm,
        files.start,
        provenance.read_table(files.pool),
        provenance.read_table(files.problems),
        build("train", GeneralPointsTask.model_validate(p.task)),
        p.max_new_tokens,
        seed,
        work,
        f"{arm} {name} seed {seed}",
    )
    frame = pd.DataFrame(rows).assign(model=name, seed=seed, run=arm)
    provenance.write_table(out.training, schemas.complete(frame, "sft-log"), record, "sft-log")
    for step, manifest in zip(settings.checkpoints, out.manifests, strict=True):
        checkpoints.publish(work.staged(artifacts.sft(step, arm)), manifest, record)
    work.close()
