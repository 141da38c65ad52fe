import pandas as pd

from healscope import provenance, schemas
from healscope.config import Branch, GeneralPointsTask
from healscope.job import job
from healscope.models import checkpoints
from healscope.tasks import build
from healscope.tasks.verdict import verify
from healscope.training import ppo
from healscope.training.state import Workspace

with job(snakemake.log[0], snakemake.threads, torch=True):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    name, seed = snakemake.wildcards.model, int(snakemake.wildcards.seed)
    branch = Branch.model_validate(p.branch)
    task = build("train", GeneralPointsTask.model_validate(p.task))
    record = provenance.record(
        {"branch": p.branch, "task": p.task, "max_new_tokens": p.max_new_tokens},
        {"seed": seed},
        provenance.hashes([files.start, files.pool]),
    )
    work = Workspace(p.state, record["fingerprint"])
    rows = ppo.train(
        branch,
        files.start,
        provenance.read_table(files.pool),
        lambda problem, text: verify(task, problem, text),
        p.max_new_tokens,
        seed,
        work,
        branch.name,
        f"{branch.name} {name} seed {seed}",
    )
    frame = pd.DataFrame(rows).assign(model=name, seed=seed, run=branch.name)
    provenance.write_table(out.training, schemas.complete(frame, "ppo-log"), record, "ppo-log")
    checkpoints.publish(work.staged(branch.name), out.manifest, record)
    work.close()
