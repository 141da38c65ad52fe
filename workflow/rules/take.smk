"""Given checkpoints: linked to where a trained study has its own, and held against their base."""

from healscope.config.sources import files as files_of_source

GIVEN = FILES.given
LAST = artifacts.sft(study.sft.checkpoints[-1])  # brings the tokenizer, if it has one

ON = {name: own_checkpoints.bases(study.models[name]) for name in GIVEN}  # of adapters

# listed once: hundreds of jobs need not ask a file system again
GIVEN_FILES = {
    (name, checkpoint): files_of_source(source, study.models[name].pickles)
    for name, checkpoints in GIVEN.items()
    for checkpoint, source in checkpoints.items()
}


def watched(wildcards):
    """Files that a checkpoint is linked to; of the base, also what brings the tokenizer."""
    files = GIVEN_FILES[wildcards.track, wildcards.checkpoint]
    if wildcards.checkpoint != "base":
        return files
    more = [f for f in GIVEN_FILES[wildcards.track, LAST] if not f.endswith(".safetensors")]
    return [*files, *(f for f in more if f not in files)]


def beside(wildcards):
    """What a checkpoint is held against: its base; the base, the last SFT checkpoint."""
    if wildcards.checkpoint == "base":
        return GIVEN[wildcards.track][LAST]
    return artifacts.path(artifacts.CHECKPOINT, track=wildcards.track, seed=0, checkpoint="base")


def on(wildcards):
    """The manifest of the checkpoint that an adapter is on; None of the base, and what is none."""
    name = ON[wildcards.track].get(wildcards.checkpoint)
    return name and artifacts.path(
        artifacts.CHECKPOINT, track=wildcards.track, seed=0, checkpoint=name
    )


rule take:
    input:
        files=watched,
        base=lambda w: [] if w.checkpoint == "base" else list({beside(w): 0, on(w) or beside(w): 0}),
    output:
        this(artifacts.CHECKPOINT, checkpoint="{checkpoint}"),
    log:
        log_of("take", "track", "seed", "checkpoint"),
    wildcard_constraints:
        checkpoint="|".join(next(iter(GIVEN.values()))),
        seed="0",
    threads: threads_of("base")
    resources:
        **resources_of("base"),
    params:
        source=lambda w: GIVEN[w.track][w.checkpoint],
        beside=beside,
        on=on,
        end_token=lambda w: study.models[w.track].end_token,
        pickles=lambda w: study.models[w.track].pickles,
    message:
        "Take {wildcards.checkpoint} of {wildcards.track}"
    script:
        "../scripts/take.py"
