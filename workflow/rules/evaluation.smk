"""Accuracy of checkpoints, and the landmarks chosen from it.

Outputs are `update`: a job computes only those of its files that are missing or came from other
inputs, so that one deleted file costs one evaluation.
"""

PROBLEM_FILES = expand(artifacts.PROBLEMS, task=study.tasks)
EVALUATION_PARAMS = {
    "evaluation": study.evaluation.model_dump(mode="json", exclude={"variants_per_job"}),
    "tasks": {name: task_settings(name) for name in study.tasks},
}


for number, chunk in enumerate(batches(SFT_CHECKPOINTS), 1):

    rule:
        name:
            f"evaluate_sft_{number}"
        input:
            manifests=manifests(SFT_CHECKPOINTS),
            problems=PROBLEM_FILES,
        output:
            [update(f) for f in here(artifacts.EVALUATION, checkpoint=chunk, task=study.tasks)],
        log:
            log_of(f"evaluate_sft_{number}", "model", "seed"),
        params:
            **EVALUATION_PARAMS,
        message:
            "Evaluate SFT checkpoints of {wildcards.model}, seed {wildcards.seed}"
        script:
            "../scripts/evaluate_checkpoints.py"


rule evaluate_rl:
    input:
        manifests=[manifest("{branch}")],
        problems=PROBLEM_FILES,
    output:
        [update(f) for f in here(artifacts.EVALUATION, checkpoint="{branch}", task=study.tasks)],
    log:
        log_of("evaluate_rl", "model", "seed", "branch"),
    params:
        **EVALUATION_PARAMS,
    message:
        "Evaluate {wildcards.branch} of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_checkpoints.py"


rule landmarks:
    input:
        here(artifacts.EVALUATION, checkpoint=SFT_CHECKPOINTS, task=TASK),
    output:
        artifacts.LANDMARKS,
    log:
        log_of("landmarks", "model", "seed"),
    params:
        maxood=study.landmarks.maxood,
        end=study.end_step,
        rl=study.rl_landmark,
    message:
        "Landmarks of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/landmarks.py"
