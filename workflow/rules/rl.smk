"""RL branches: each from one SFT checkpoint, with settings of its own."""


rule rl:
    input:
        start=lambda w: manifest(artifacts.sft(BRANCHES[w.branch].start)),
        pool=artifacts.path(artifacts.RL_POOL, task=TASK),
    output:
        manifest=manifest("{branch}"),
        training=this(artifacts.TRAINING, run="{branch}"),
    log:
        log_of("rl", "model", "seed", "branch"),
    params:
        branch=lambda w: BRANCHES[w.branch].model_dump(mode="json"),
        task=task_settings(without=DEALING_ONLY),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="{branch}"),
    message:
        "RL {wildcards.branch} of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/rl.py"
