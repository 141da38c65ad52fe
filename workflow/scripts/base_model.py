import pandas as pd

from healscope import provenance
from healscope.config import Model
from healscope.job import job
from healscope.models import checkpoints
from healscope.tasks import build
from healscope.training import base
from healscope.training.schemas import BASE_LOG
from healscope.training.state import Workspace

with job(snakemake, torch=True):
    p, out = snakemake.params, snakemake.output
    name, seed = snakemake.wildcards.track, int(snakemake.wildcards.seed)
    model = Model.model_validate(p.model)
    hashes = provenance.hashes(snakemake.input)
    record = provenance.record({"model": p.model, "task": p.task}, {"seed": seed}, hashes)
    work = Workspace(p.state, record["fingerprint"])
    if model.scratch:
        task = build("pretraining", p.task)
        rows = base.pretrain(model.scratch, task, seed, work, f"base {name} seed {seed}")
    else:
        rows = base.fetch(model, work)
    frame = pd.DataFrame(rows).assign(track=name, seed=seed, run="base")
    provenance.write_table(out.training, BASE_LOG.complete(frame), record, BASE_LOG)
    checkpoints.publish(work.staged("base"), out.manifest, record)
    work.close()
