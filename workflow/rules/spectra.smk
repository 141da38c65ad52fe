"""Singular value decompositions of checkpoints, and comparisons of pairs with their controls."""

PAIRS = ["base--end", "maxood--end"]
if FILES.rl:
    PAIRS = ["base--end", "base--rl", "maxood--end", "end--rl"]
COMPARED = list(dict.fromkeys(point for pair in PAIRS for point in pair.split("--")))

# what RL makes is a job apart: another recipe leaves the factors along SFT as they are
FACTOR_JOBS = {
    "sft": [p for p in FILES.factor_points if FILES.behind(p)[0] not in study.branches],
    "rl": [p for p in FILES.factor_points if FILES.behind(p)[0] in study.branches],
}
for part, points in {k: v for k, v in FACTOR_JOBS.items() if v}.items():

    rule:
        name:
            f"factors_{part}"
        input:
            landmarks=artifacts.LANDMARKS,
            manifests=manifests(FILES.behind(*points)),
        output:
            here(artifacts.FACTORS, point=points),
        log:
            log_of(f"factors_{part}", "track", "seed"),
        threads: threads_of("spectra")
        resources:
            **resources_of("spectra"),
        params:
            **study.spectra.model_dump(include={"precision"}),
            matrices=study.spectra.matrices,
            points=points,
            check_random=lambda w: study.model_of(w.track).check_random,
        message:
            f"SVDs, {part}: " "{wildcards.track}, seed {wildcards.seed}"
        script:
            "../scripts/factors.py"


rule compare:
    input:
        here(artifacts.FACTORS, point=COMPARED),
    output:
        artifacts.COMPARISON,
    log:
        log_of("compare", "track", "seed"),
    threads: threads_of("spectra")
    resources:
        **resources_of("spectra"),
    params:
        **section("spectra"),
        pairs=PAIRS,
        points=COMPARED,
    message:
        "Compare weights of {wildcards.track}, seed {wildcards.seed}"
    script:
        "../scripts/compare.py"


rule mask_overlap:
    input:
        landmarks=FILES.landmarks(),
        manifests=FILES.each(artifacts.CHECKPOINT, checkpoint=FILES.behind(*COMPARED)),
    output:
        artifacts.path(artifacts.TABLE, table="mask-overlap"),
    log:
        artifacts.path(artifacts.LOG, job="mask_overlap"),
    resources:
        **SMALL,
    params:
        matrices=study.spectra.matrices,
        pairs=PAIRS,
        models={
            track: {
                str(seed): artifacts.path(artifacts.LANDMARKS, track=track, seed=seed)
                for seed in study.seeds
            }
            for track in FILES.followed
        },
    message:
        "Entries that several seeds change"
    script:
        "../scripts/mask_overlap.py"
