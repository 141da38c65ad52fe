import pandas as pd

from healscope import artifacts, provenance
from healscope.config import SFT
from healscope.job import job
from healscope.location import CONFIG
from healscope.models import checkpoints
from healscope.training import launch
from healscope.training.schemas import SFT_LOG
from healscope.training.state import Workspace

with job(snakemake, torch=True):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    name, seed = snakemake.wildcards.track, int(snakemake.wildcards.seed)
    config = {k: p[k] for k in ("sft", "arm", "task", "max_new_tokens", "precision")}
    inputs = provenance.hashes([files.start, files.pool, files.problems])
    record = provenance.record(config, {"seed": seed}, inputs)
    work = Workspace(p.state, record["fingerprint"])
    run = {"kind": "sft", "name": p.arm, "track": name, "seed": seed}
    run |= {"params": config, "files": {key: str(file) for key, file in files.items()}}
    rows = launch.run(run, snakemake.config, CONFIG / "deepspeed", snakemake.threads, work)
    frame = pd.DataFrame(rows).assign(track=name, seed=seed, run=p.arm)
    provenance.write_table(out.training, SFT_LOG.complete(frame), record, SFT_LOG)
    grid = SFT.model_validate(p.sft).checkpoints
    for step, manifest in zip(grid, out.manifests, strict=True):
        checkpoints.publish(work.staged(artifacts.sft(step, p.arm)), manifest, record)
    work.close()
