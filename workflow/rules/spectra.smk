"""Singular value decompositions at the landmarks, and comparisons of pairs."""

LANDMARK_CHECKPOINTS = {
    "base": ["base"],
    "maxood": sft_checkpoints(),  # which one is known only once they are evaluated
    "end": [artifacts.sft(study.end_step)],
    "rl": [study.rl_landmark],
}


rule factors:
    input:
        landmarks=artifacts.LANDMARKS,
        manifests=lambda w: manifests(LANDMARK_CHECKPOINTS[w.landmark]),
    output:
        artifacts.FACTORS,
    log:
        log_of("factors", "model", "seed", "landmark"),
    params:
        matrices=study.spectra.matrices,
        check_random=lambda w: study.models[w.model].check_random,
    message:
        "SVD at {wildcards.landmark} of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/factors.py"


rule compare:
    input:
        a=this(artifacts.FACTORS, landmark="{a}"),
        b=this(artifacts.FACTORS, landmark="{b}"),
    output:
        artifacts.COMPARISON,
    log:
        log_of("compare", "model", "seed", "a", "b"),
    params:
        fractions=study.spectra.angle_fractions,
    message:
        "Compare {wildcards.a} and {wildcards.b} of {wildcards.model}, seed {wildcards.seed}"
    script:
        "../scripts/compare.py"
