from healscope import artifacts, provenance
from healscope.config import Signals
from healscope.job import job
from healscope.probes import signals
from healscope.probes.schemas import SIGNALS
from healscope.tasks import build
from healscope.tasks.tables import sft_examples

with job(snakemake, torch=True):
    p, files, name = snakemake.params, snakemake.input, snakemake.wildcards.track
    seed, settings = int(snakemake.wildcards.seed), Signals.model_validate(p.signals)
    task = build("train", p.task)
    rows = signals.measure(
        files.base,
        dict(zip(p.steps, files.manifests, strict=True)),
        sft_examples(provenance.read_table(files.pool), **p.examples, seed=seed),
        provenance.read_table(files.problems),
        task.neutral_prompts(settings.problems, seed),
        settings,
        p.matrices,
        artifacts.FACTORS_CACHE,
        p.max_new_tokens,
        seed,
        f"signals {name} seed {seed}",
        task.answer_steps,
    )
    names = "signals", "task", "examples", "matrices", "max_new_tokens"
    used = {name: getattr(p, name) for name in names}
    record = provenance.record(used, {"seed": seed}, provenance.hashes(files))
    rows = rows.assign(track=name, seed=seed)
    provenance.write_table(snakemake.output[0], rows, record, SIGNALS)
