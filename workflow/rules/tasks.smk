"""Problems: every deal, the hold-out, and what SFT and RL draw from."""


rule task_tables:
    output:
        problems=artifacts.PROBLEMS,
        sft=artifacts.SFT_POOL,
        rl=artifacts.RL_POOL,
    log:
        log_of("task_tables", "task"),
    params:
        task=lambda w: task_settings(w.task, without=JUDGING_ONLY),
    message:
        "Problems of task {wildcards.task}"
    script:
        "../scripts/task_tables.py"
