"""Edits made in memory and evaluated, those of one stage in one process, a file each."""

EDITS = study.edits.names()

for stage, points in study.edits.stages.items():
    for ending, tasks, tracks in FILES.asked_alike(EXHAUSTIVE):
        listed = [(f"edit_{stage}_{n}", chunk) for n, chunk in enumerate(FILES.batches(EDITS), 1)]
        for name, names in [*listed, (f"edit_{stage}", ["{edit}"])]:  # the last: any, by its name

            rule:
                name:
                    f"{name}{ending}"
                input:
                    landmarks=artifacts.LANDMARKS,
                    manifests=manifests(FILES.behind(points.target, points.parent)),
                    target=this(artifacts.FACTORS, point=points.target),
                    parent=this(artifacts.FACTORS, point=points.parent),
                    problems=files.fill(artifacts.POSED, protocol=EXHAUSTIVE, task=tasks),
                output:
                    [update(f) for f in here(artifacts.EDIT, stage=stage, edit=names, task=tasks)],
                log:
                    log_of(name, "track", "seed", *(["edit"] if names == ["{edit}"] else [])),
                wildcard_constraints:
                    edit=f"(?!({'|'.join(EDITS)})/)[^/]+",
                    track=one_of(tracks),
                threads: threads_of("edits")
                resources:
                    **resources_of("edits"),
                params:
                    **values.evaluation(study, EXHAUSTIVE, tasks, first_attempts=True),
                    stage=stage,
                    points=points.model_dump(mode="json"),
                message:
                    f"Edits of stage {stage}: " "{wildcards.track}, seed {wildcards.seed}"
                script:
                    "../scripts/evaluate_edits.py"
