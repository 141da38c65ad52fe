"""Supervised fine-tuning on the ID rule: a run an arm, all checkpoints of the grid at once."""

for arm in artifacts.SFT_ARMS:

    rule:
        name:
            arm
        input:
            start=manifest("base"),
            pool=artifacts.path(artifacts.SFT_POOL, task=TASK),
            problems=artifacts.path(artifacts.PROBLEMS, task=TASK),
        output:
            training=this(artifacts.TRAINING, run=arm),
            manifests=manifests(sft_checkpoints(arm)),
        log:
            log_of(arm, "model", "seed"),
        params:
            sft=study.sft.model_dump(mode="json", exclude={"arms"}),
            arm=arm,
            task=task_settings(without=RL_ONLY + DEALING_ONLY),
            max_new_tokens=study.evaluation.max_new_tokens,
            state=this(artifacts.STATE, run=arm),
        message:
            f"SFT ({arm})" " of {wildcards.model}, seed {wildcards.seed}"
        script:
            "../scripts/sft.py"
