"""Weights that nothing in the study needs any more, with `checkpoints.keep: landmarks`.

An ordinary rule: what stands is not made again when weights are gone, since everything hangs on
manifests, which stay. A job that does need them is told by `checkpoints.verify` how to get them.
"""

ARMS = [sft_checkpoints(arm) for arm in ["sft", *study.sft.arms]]
EDITED = [p for stage in study.edits.stages.values() for p in (stage.target, stage.parent)]
STAYING = {artifacts.sft(study.end_step), study.rl_landmark, *EDITED}
PASSING = [c for c in [*sum(ARMS, []), *BRANCHES] if c not in STAYING]
# given checkpoints are links: there is nothing to delete
GOING = PASSING if study.checkpoints.keep == "landmarks" and not study.taken else []


def made_from(checkpoint):
    """What reads the weights of a checkpoint without a role, and which one MaxOOD is."""
    arm = next((names for names in ARMS if checkpoint in names), [checkpoint])
    files = [artifacts.LANDMARKS]  # which is made from all of SFT under the main protocol
    protocols = [EXHAUSTIVE]
    if arm == ARMS[0]:
        protocols = [name for name in PROTOCOLS if name != EXHAUSTIVE]
        after = [b for b in BRANCHES if artifacts.sft(artifacts.parse_branch(b)[1]) == checkpoint]
        files += [artifacts.SIGNALS, *manifests(after)]
    # of all of its arm, since one job evaluates several
    files += here(artifacts.EVALUATION, protocol=protocols, checkpoint=arm, task=TASK)
    return files


localrules:
    drop_weights,


rule drop_weights:
    input:
        manifest=manifest("{checkpoint}"),
        landmarks=artifacts.LANDMARKS,
        made=lambda w: made_from(w.checkpoint),
    output:
        this(artifacts.DROPPED, checkpoint="{checkpoint}"),
    log:
        log_of("drop_weights", "model", "seed", "checkpoint"),
    wildcard_constraints:
        checkpoint="|".join(PASSING),
    priority: 2
    message:
        "Weights of {wildcards.checkpoint}, {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/drop_weights.py"
