"""Measurements over checkpoints that train nothing."""


rule hidden_states:
    input:
        landmarks=artifacts.LANDMARKS,
        manifests=manifests(FILES.behind(*FILES.behind_landmarks)),
        problems=this(artifacts.PROBLEMS),
    output:
        artifacts.HIDDEN_STATES,
    log:
        log_of("hidden_states", "track", "seed"),
    threads: threads_of("probes")
    resources:
        **resources_of("probes"),
    params:
        problems=study.hidden_states.problems,
    message:
        "Hidden states of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/hidden_states.py"


if not study.taken:  # it asks about what SFT has read

    rule signals:
        input:
            base=manifest("base"),
            manifests=manifests(FILES.sft()),
            pool=this(artifacts.SFT_POOL),
            problems=this(artifacts.PROBLEMS),
        output:
            artifacts.SIGNALS,
        log:
            log_of("signals", "track", "seed"),
        threads: threads_of("probes")
        resources:
            **resources_of("probes"),
        params:
            **section("signals"),
            steps=study.sft.checkpoints,
            examples=values.examples(study),
            task=own_task("rl_only"),
            matrices=study.spectra.matrices,
            max_new_tokens=study.evaluation.max_new_tokens,
        message:
            "Signals along SFT of {wildcards.track}, seed {wildcards.seed}"
        script:
            "../scripts/signals.py"
