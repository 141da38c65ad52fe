"""Supervised fine-tuning on the ID rule: a run an arm, all checkpoints of the grid at once.

Any arm can be asked for by name, also one that the study does not list.
"""


rule sft:
    input:
        start=manifest("base"),
        pool=this(artifacts.SFT_POOL),
        problems=this(artifacts.PROBLEMS),
    output:
        training=this(artifacts.TRAINING, run="{arm}"),
        manifests=manifests(FILES.sft("{arm}")),
    log:
        log_of("sft", "arm", "track", "seed"),
    priority: first_seed
    threads: threads_of("sft")
    resources:
        **resources_of("sft"),
    params:
        sft=lambda w: values.sft(study, w.arm),
        arm="{arm}",
        precision=lambda w: study.model_of(w.track).launch.precision,
        task=own_task("rl_only", "dealing_only"),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="{arm}"),
    message:
        "SFT ({wildcards.arm}) of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/sft.py"
