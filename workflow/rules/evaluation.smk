"""Answers of checkpoints under every protocol, and the landmarks chosen from them.

Outputs are `update`: a job computes only those of its files that are missing or came from other
inputs, so that one deleted file costs one evaluation, and a new protocol only itself.
"""

POSED_FILES = [
    artifacts.path(artifacts.POSED, protocol=protocol, task=task)
    for protocol in PROTOCOLS
    for task in study.tasks
]
EVALUATION_PARAMS = {
    "evaluation": study.evaluation.model_dump(
        mode="json", exclude={"variants_per_job", "protocols"}
    ),
    "protocols": {name: p.model_dump(mode="json") for name, p in PROTOCOLS.items()},
    "tasks": {name: task_settings(name) for name in study.tasks},
}


for arm in artifacts.SFT_ARMS:
    for number, chunk in enumerate(batches(sft_checkpoints(arm)), 1):

        rule:
            name:
                f"evaluate_{arm}_{number}"
            input:
                manifests=manifests(sft_checkpoints(arm)),
                problems=POSED_FILES,
            output:
                evaluation_outputs(chunk),
            log:
                log_of(f"evaluate_{arm}_{number}", "model", "seed"),
            params:
                **EVALUATION_PARAMS,
            message:
                f"Evaluate SFT checkpoints ({arm})" " of {wildcards.model}, seed {wildcards.seed}"
            script:
                "../scripts/evaluate_checkpoints.py"


rule evaluate_rl:
    input:
        manifests=[manifest("{branch}")],
        problems=POSED_FILES,
    output:
        evaluation_outputs("{branch}"),
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
        here(
            artifacts.EVALUATION,
            protocol=EXHAUSTIVE,
            checkpoint=sft_checkpoints(),
            task=TASK,
        ),
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
