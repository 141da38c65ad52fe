import pandas as pd

from healscope import engines, provenance
from healscope.job import job
from healscope.location import CONFIG
from healscope.training import launch
from healscope.training.health import Diverged
from healscope.training.jobs import publish
from healscope.training.schemas import RL_LOG
from healscope.training.state import Workspace

with job(snakemake, torch=True):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    names, seed, failure = snakemake.wildcards, int(snakemake.wildcards.seed), ""
    used = ("recipe", "examples", "task", "max_new_tokens", "precision", "vllm")
    config = {key: p[key] for key in used if p[key]}
    record = provenance.record(config, {"seed": seed}, provenance.hashes(files))
    work = Workspace(p.state, record["fingerprint"])
    run = {"kind": "rl", "name": names.branch, "track": names.track, "seed": seed}
    run |= {"params": config, "files": {key: str(file) for key, file in files.items() if file}}
    engine = engines.Process.of(snakemake)
    run["engine"] = engine and engine.plain()
    try:
        rows = launch.run(run, snakemake.config, CONFIG / "deepspeed", snakemake.threads, work)
    except Diverged as error:
        rows, failure = error.rows or [{"iteration": 1}], str(error)
    frame = pd.DataFrame(rows).assign(track=names.track, seed=seed, run=names.branch)
    frame["failure"] = [*[""] * (len(frame) - 1), failure]
    provenance.write_table(out.training, RL_LOG.complete(frame), record, RL_LOG)
    publish(work, run, out.manifest, record, failure)
