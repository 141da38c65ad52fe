"""Measurements over checkpoints that train nothing."""


rule hidden_states:
    input:
        landmarks=artifacts.LANDMARKS,
        manifests=lambda w: manifests(LANDMARK_CHECKPOINTS[w.landmark]),
        problems=artifacts.path(artifacts.PROBLEMS, task=TASK),
    output:
        artifacts.HIDDEN_STATES,
    log:
        log_of("hidden_states", "model", "seed", "landmark"),
    params:
        problems=study.hidden_states.problems,
    message:
        "Hidden states at {wildcards.landmark} of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/hidden_states.py"
