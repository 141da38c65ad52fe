"""Branches: a recipe of RL, or of a control, from one SFT checkpoint.

Any recipe and start can be asked for by name, also those that the study does not list.
"""


rule pool:
    input:
        manifest=manifest("{checkpoint}"),
        prompts=this(artifacts.RL_POOL),
    output:
        this(artifacts.POOL, checkpoint="{checkpoint}"),
    log:
        log_of("pool", "track", "seed", "checkpoint"),
    wildcard_constraints:
        checkpoint="|".join(FILES.sft()),
    threads: threads_of("evaluation")
    resources:
        **resources_of("evaluation"),
    params:
        pools=values.pools(study),
        task=own_task("rl_only", "dealing_only"),
        max_new_tokens=study.evaluation.max_new_tokens,
    message:
        "How hard training problems are to {wildcards.checkpoint} of {wildcards.track}, seed"
        " {wildcards.seed}"
    script:
        "../scripts/pool.py"


rule rl:
    input:
        start=lambda w: manifest(artifacts.sft(artifacts.parse_branch(w.branch)[1])),
        base=manifest("base"),
        prompts=this(artifacts.RL_POOL),
        sft_pool=this(artifacts.SFT_POOL),
        pool=lambda w: files.fill(
            artifacts.POOL, track=w.track, seed=w.seed, checkpoint=values.pool_at(study, w.branch)
        ),
        mask=lambda w: files.fill(
            artifacts.CHECKPOINT,
            track=w.track,
            seed=w.seed,
            checkpoint=values.mask_of(study, w.branch),
        ),
    output:
        manifest=manifest("{branch}"),
        training=this(artifacts.TRAINING, run="{branch}"),
    log:
        log_of("rl", "track", "seed", "branch"),
    threads: threads_of("rl")
    resources:
        **resources_of("rl"),
    params:
        vllm=lambda w: values.sampling_engine(study, w.branch),
        recipe=lambda w: values.recipe(study, w.branch),
        examples=values.examples(study),
        precision=lambda w: study.model_of(w.track).launch.precision,
        task=lambda w: values.task_of_branch(study, w.track, w.branch),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="{branch}"),
    message:
        "{wildcards.branch} of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/rl.py"
