"""Supervised fine-tuning on the ID rule: one run, all checkpoints of the grid."""


rule sft:
    input:
        start=manifest("base"),
        pool=artifacts.path(artifacts.SFT_POOL, task=TASK),
        problems=artifacts.path(artifacts.PROBLEMS, task=TASK),
    output:
        training=this(artifacts.TRAINING, run="sft"),
        manifests=manifests(SFT_CHECKPOINTS),
    log:
        log_of("sft", "model", "seed"),
    params:
        **section("sft"),
        task=task_settings(without=RL_ONLY + DEALING_ONLY),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="sft"),
    message:
        "SFT of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/sft.py"
