import pandas as pd
from pydantic import TypeAdapter

from healscope import engines, provenance, schemas
from healscope.config import GeneralPointsTask, Recipe
from healscope.job import job
from healscope.tasks import build
from healscope.tasks.problems import sft_examples
from healscope.training import branch
from healscope.training.health import Diverged
from healscope.training.state import Workspace

with job(snakemake, torch=True):
    p, files, out = snakemake.params, snakemake.input, snakemake.output
    names, seed, failure = snakemake.wildcards, int(snakemake.wildcards.seed), ""
    used = {"recipe", "examples", "task", "max_new_tokens", "vllm"} & set(p.keys())
    record = provenance.record({k: p[k] for k in used}, {"seed": seed}, provenance.hashes(files))
    pool = provenance.read_table(files.sft_pool)
    own = branch.Branch(
        name=names.branch,
        start=files.start,
        base=files.base,
        prompts=provenance.read_table(files.prompts),
        sft_pool=pool,
        sft_rows=sft_examples(pool, **p.examples, seed=seed),
        task=build("train", GeneralPointsTask.model_validate(p.task)),
        max_new_tokens=p.max_new_tokens,
        seed=seed,
        work=Workspace(p.state, record["fingerprint"]),
        label=f"{names.branch} {names.model} seed {seed}",
        process=engines.Process.of(snakemake),
    )
    try:
        rows = branch.run(TypeAdapter(Recipe).validate_python(p.recipe), own)
    except Diverged as error:
        rows, failure = error.rows or [{"iteration": 1}], str(error)
    frame = pd.DataFrame(rows).assign(model=names.model, seed=seed, run=names.branch)
    frame["failure"] = [*[""] * (len(frame) - 1), failure]
    provenance.write_table(out.training, schemas.complete(frame, "rl-log"), record, "rl-log")
    branch.publish(own, out.manifest, record, failure)
