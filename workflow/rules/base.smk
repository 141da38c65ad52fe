"""The base model: trained from scratch, or taken from a folder or hub."""


rule base_model:
    input:
        lambda w: files.of_model(study.model_of(w.track).source),
    output:
        manifest=manifest("base"),
        training=this(artifacts.TRAINING, run="base"),
    log:
        log_of("base_model", "track", "seed"),
    priority: first_seed
    threads: threads_of("base")
    resources:
        **resources_of("base"),
    params:
        model=lambda w: values.model(study, w.track),
        # what is fetched is the same for every task
        task=lambda w: (
            own_task("rl_only", "dealing_only")(w) if study.model_of(w.track).scratch else {}
        ),
        state=this(artifacts.STATE, run="base"),
    message:
        "Base model {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/base_model.py"
