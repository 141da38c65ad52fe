"""Keepers: first attempts of checkpoints, branches and edits at sets that are never trained on.

Rules of their own, so that a keeper adds evaluations and leaves alone all that stands.
"""

KEEPERS = study.evaluation.keepers

if KEEPERS:
    POSED_KEEPERS = files.fill(artifacts.POSED, protocol=EXHAUSTIVE, task=KEEPERS)

    for number, chunk in enumerate(FILES.batches(FILES.sft("{arm}")), 1):

        rule:
            name:
                f"evaluate_keepers_sft_{number}"
            input:
                manifests=manifests(FILES.sft("{arm}")),
                problems=POSED_KEEPERS,
            output:
                evaluation_outputs(EXHAUSTIVE, chunk, KEEPERS),
            log:
                log_of(f"evaluate_keepers_sft_{number}", "arm", "track", "seed"),
            threads: threads_of("evaluation")
            resources:
                **resources_of("evaluation"),
            params:
                **values.keepers(study),
            message:
                "Keepers after SFT ({wildcards.arm}): {wildcards.track}, seed {wildcards.seed}"
            script:
                "../scripts/evaluate_checkpoints.py"

    rule evaluate_keepers_rl:
        input:
            manifests=[manifest("{branch}")],
            problems=POSED_KEEPERS,
        output:
            evaluation_outputs(EXHAUSTIVE, "{branch}", KEEPERS),
        log:
            log_of("evaluate_keepers_rl", "track", "seed", "branch"),
        priority: 1 if FILES.dropped else 0
        threads: threads_of("evaluation")
        resources:
            **resources_of("evaluation"),
        params:
            **values.keepers(study),
        message:
            "Keepers after {wildcards.branch}: {wildcards.track}, seed {wildcards.seed}"
        script:
            "../scripts/evaluate_checkpoints.py"

    for stage, points in study.edits.stages.items():
        listed = [(f"_{n}", chunk) for n, chunk in enumerate(FILES.batches(EDITS), 1)]
        for number, names in [*listed, ("", ["{edit}"])]:  # the last: any, by its name

            rule:
                name:
                    f"edit_keepers_{stage}{number}"
                input:
                    landmarks=artifacts.LANDMARKS,
                    manifests=manifests(FILES.behind(points.target, points.parent)),
                    target=this(artifacts.FACTORS, point=points.target),
                    parent=this(artifacts.FACTORS, point=points.parent),
                    problems=POSED_KEEPERS,
                output:
                    [update(f) for f in here(artifacts.EDIT, stage=stage, edit=names, task=KEEPERS)],
                log:
                    log_of(
                        f"edit_keepers_{stage}{number}",
                        "track",
                        "seed",
                        *(["edit"] if names == ["{edit}"] else []),
                    ),
                wildcard_constraints:
                    edit=f"(?!({'|'.join(EDITS)})/)[^/]+",
                threads: threads_of("edits")
                resources:
                    **resources_of("edits"),
                params:
                    **values.keepers(study),
                    stage=stage,
                    points=points.model_dump(mode="json"),
                message:
                    f"Keepers after edits of stage {stage}: "
                    "{wildcards.track}, seed {wildcards.seed}"
                script:
                    "../scripts/evaluate_edits.py"
