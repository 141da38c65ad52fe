"""Answers of checkpoints under every protocol, and the landmarks chosen from them.

Outputs are `update`: a job computes only those of its files that are missing or came from other
inputs, so that one deleted file costs one evaluation, and a new protocol only itself.
"""

# SFT checkpoints protocol by protocol, since landmarks hang on the main one alone
for protocol in study.evaluation.protocols:
    for ending, tasks, tracks in FILES.asked_alike(protocol):
        for number, chunk in enumerate(FILES.batches(FILES.sft("{arm}")), 1):

            rule:
                name:
                    f"evaluate_sft_{protocol}_{number}{ending}"
                input:
                    manifests=manifests(FILES.sft("{arm}")),
                    problems=files.fill(artifacts.POSED, protocol=protocol, task=tasks),
                output:
                    evaluation_outputs(protocol, chunk, tasks),
                log:
                    log_of(f"evaluate_sft_{protocol}_{number}", "arm", "track", "seed"),
                wildcard_constraints:
                    track=one_of(tracks),
                threads: threads_of("evaluation")
                resources:
                    **resources_of("evaluation"),
                params:
                    **values.evaluation(study, protocol, tasks),
                message:
                    "Evaluate SFT ({wildcards.arm})"
                    f" under {protocol}: "
                    "{wildcards.track}, seed {wildcards.seed}"
                script:
                    "../scripts/evaluate_checkpoints.py"


for protocol in study.evaluation.protocols:
    for ending, tasks, tracks in FILES.asked_alike(protocol):

        rule:
            name:
                f"evaluate_rl_{protocol}{ending}"
            input:
                manifests=[manifest("{branch}")],
                problems=files.fill(artifacts.POSED, protocol=protocol, task=tasks),
            output:
                evaluation_outputs(protocol, "{branch}", tasks),
            log:
                log_of(f"evaluate_rl_{protocol}", "track", "seed", "branch"),
            wildcard_constraints:
                track=one_of(tracks),
            priority: 1 if FILES.dropped else 0  # what RL made goes before more is made
            threads: threads_of("evaluation")
            resources:
                **resources_of("evaluation"),
            params:
                **values.evaluation(study, protocol, tasks),
            message:
                "Evaluate {wildcards.branch}"
                f" under {protocol}: "
                "{wildcards.track}, seed {wildcards.seed}"
            script:
                "../scripts/evaluate_checkpoints.py"


rule landmarks:
    input:
        here(
            artifacts.EVALUATION,
            protocol=EXHAUSTIVE,
            checkpoint=FILES.sft(),
        ),
    output:
        artifacts.LANDMARKS,
    log:
        log_of("landmarks", "track", "seed"),
    resources:
        **SMALL,
    params:
        maxood=study.landmarks.maxood,
        end=study.end_step,
        rl=study.rl_landmark,
    message:
        "Landmarks of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/landmarks.py"
