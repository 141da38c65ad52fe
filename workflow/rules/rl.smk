"""Branches: a recipe of RL, or of a control, from one SFT checkpoint.

Any recipe and start can be asked for by name, also those that the study does not list.
"""


rule rl:
    input:
        start=lambda w: manifest(artifacts.sft(artifacts.parse_branch(w.branch)[1])),
        base=manifest("base"),
        prompts=this(artifacts.RL_POOL),
        sft_pool=this(artifacts.SFT_POOL),
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
        task=own_task("dealing_only"),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="{branch}"),
    message:
        "{wildcards.branch} of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/rl.py"
