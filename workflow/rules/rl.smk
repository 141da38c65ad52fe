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
        vllm=lambda w: sampling_engine(w.branch),
        recipe=lambda w: recipe_settings(w.branch),
        examples=study.sft.model_dump(mode="json", include={"deals", "examples"}),
        precision=lambda w: study.model_of(w.track).launch.precision,
        task=own_task("dealing_only"),
        max_new_tokens=study.evaluation.max_new_tokens,
        state=this(artifacts.STATE, run="{branch}"),
    message:
        "{wildcards.branch} of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/rl.py"
