"""Problems: every deal, the hold-out, what SFT and RL draw from, and what a protocol poses."""


rule task_tables:
    output:
        problems=artifacts.PROBLEMS,
        sft=artifacts.SFT_POOL,
        rl=artifacts.RL_POOL,
    log:
        log_of("task_tables", "task"),
    priority: FIRST_SEED
    group:
        one_job("tasks")
    resources:
        **SMALL,
    params:
        task=lambda w: values.task(study, w.task, ["judging_only"]),
    message:
        "Problems of task {wildcards.task}"
    script:
        "../scripts/task_tables.py"


rule posed:
    input:
        problems=artifacts.PROBLEMS,
    output:
        artifacts.POSED,
    log:
        log_of("posed", "task", "protocol"),
    priority: FIRST_SEED
    group:
        one_job("tasks")
    resources:
        **SMALL,
    params:
        task=lambda w: values.task(study, w.task, ["judging_only"]),
        protocol=lambda w: values.protocol(study.evaluation.protocols[w.protocol], values.POSING),
    message:
        "Problems of protocol {wildcards.protocol}, task {wildcards.task}"
    script:
        "../scripts/posed.py"
