"""Edits made in memory and evaluated, those of one stage in one process, a file each."""

EDITS = study.edits.names()
# beginning and ending of rules' names, tasks, tracks and values; keepers apart, as of checkpoints
ASKED_OF_EDITS = [
    (
        "edit",
        ending,
        tasks,
        tracks,
        values.evaluation(study, EXHAUSTIVE, tasks, first_attempts=True),
    )
    for ending, tasks, tracks in FILES.asked_alike(EXHAUSTIVE)
]
if FILES.keepers:
    ASKED_OF_EDITS.append(("edit_keepers", "", *of_keepers))

for stage, points in study.edits.stages.items():
    for what, ending, tasks, tracks, settings in ASKED_OF_EDITS:
        listed = [(f"{what}_{stage}_{n}", chunk) for n, chunk in enumerate(FILES.batches(EDITS), 1)]
        for name, names in [*listed, (f"{what}_{stage}", ["{edit}"])]:  # the last: any, by its name

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
                    **settings,
                    stage=stage,
                    points=points.model_dump(mode="json"),
                message:
                    f"Edits of stage {stage}: " "{wildcards.track}, seed {wildcards.seed}"
                script:
                    "../scripts/evaluate_edits.py"
