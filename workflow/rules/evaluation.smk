"""Answers of checkpoints under every protocol, and the landmarks chosen from them.

Outputs are `update`: a job computes only those of its files that are missing or came from other
inputs, so that one deleted file costs one evaluation, and a new protocol only itself.
"""

# names of rules, protocol, tasks, tracks and values of all that checkpoints are asked: protocol by
# protocol, since landmarks hang on the main one alone, and keepers apart, so that a keeper adds
# evaluations and leaves alone what stands
ASKED = [
    (f"{{}}_{protocol}", ending, protocol, tasks, tracks, values.evaluation(study, protocol, tasks))
    for protocol in study.evaluation.protocols
    for ending, tasks, tracks in FILES.asked_alike(protocol)
]
if FILES.keepers:
    of_keepers = FILES.keepers, list(study.tracks), values.keepers(study)
    ASKED.append(("keepers_{}", "", EXHAUSTIVE, *of_keepers))

for what, ending, protocol, tasks, tracks, settings in ASKED:
    for number, chunk in enumerate(FILES.batches(FILES.sft("{arm}")), 1):

        rule:
            name:
                f"evaluate_{what.format('sft')}_{number}{ending}"
            input:
                manifests=manifests(FILES.sft("{arm}")),
                problems=files.fill(artifacts.POSED, protocol=protocol, task=tasks),
            output:
                evaluation_outputs(protocol, chunk, tasks),
            log:
                log_of(f"evaluate_{what.format('sft')}_{number}", "arm", "track", "seed"),
            wildcard_constraints:
                track=one_of(tracks),
            priority: first_seed
            threads: threads_of("evaluation")
            resources:
                **resources_of("evaluation"),
            params:
                **settings,
            message:
                f"Evaluate {what.format('SFT')}"
                " ({wildcards.arm}): {wildcards.track}, seed {wildcards.seed}"
            script:
                "../scripts/evaluate_checkpoints.py"

    rule:
        name:
            f"evaluate_{what.format('rl')}{ending}"
        input:
            manifests=[manifest("{branch}")],
            problems=files.fill(artifacts.POSED, protocol=protocol, task=tasks),
        output:
            evaluation_outputs(protocol, "{branch}", tasks),
        log:
            log_of(f"evaluate_{what.format('rl')}", "track", "seed", "branch"),
        wildcard_constraints:
            track=one_of(tracks),
        priority: 1 if FILES.dropped else 0  # what RL made goes before more is made
        threads: threads_of("evaluation")
        resources:
            **resources_of("evaluation"),
        params:
            **settings,
        message:
            f"Evaluate {what.format('RL')}"
            " ({wildcards.branch}): {wildcards.track}, seed {wildcards.seed}"
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
