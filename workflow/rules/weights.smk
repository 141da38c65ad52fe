"""Weights that nothing in the study needs any more, with `checkpoints.keep: landmarks`.

An ordinary rule: what stands is not made again when weights are gone, since everything hangs on
manifests, which stay. A job that does need them is told by `checkpoints.verify` how to get them.
"""


localrules:
    drop_weights,


rule drop_weights:
    input:
        manifest=manifest("{checkpoint}"),
        landmarks=artifacts.LANDMARKS,
        measured=lambda w: [
            m.SCHEMA.path for m in MEASUREMENTS.values() if w.checkpoint in m.reads(study)
        ],
        made=lambda w: FILES.made_from(w.track, w.seed, w.checkpoint),
    output:
        this(artifacts.DROPPED, checkpoint="{checkpoint}"),
    log:
        log_of("drop_weights", "track", "seed", "checkpoint"),
    wildcard_constraints:
        checkpoint="|".join(FILES.without_role),
    priority: 2
    message:
        "Weights of {wildcards.checkpoint}, {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/drop_weights.py"
