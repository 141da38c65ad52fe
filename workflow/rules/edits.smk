"""Reversion ablations: edits made in memory and evaluated, many in one process, a file each."""

for stage, (parent, target) in artifacts.EDIT_STAGES.items():
    for group in EDIT_GROUPS:
        for number, chunk in enumerate(batches(edit_names(group)), 1):

            rule:
                name:
                    f"edit_{stage}_{group}_{number}"
                input:
                    landmarks=artifacts.LANDMARKS,
                    target_manifests=manifests(LANDMARK_CHECKPOINTS[target]),
                    target=this(artifacts.FACTORS, point=target),
                    parent=this(artifacts.FACTORS, point=parent),
                    problems=posed(EXHAUSTIVE),
                output:
                    [
                        update(f)
                        for f in here(artifacts.EDIT, stage=stage, edit=chunk, task=study.tasks)
                    ],
                log:
                    log_of(f"edit_{stage}_{group}_{number}", "model", "seed"),
                params:
                    **evaluation_params(EXHAUSTIVE, first_attempts=True),
                    stage=stage,
                    target_name=target,
                message:
                    f"Edits of {group}, stage {stage}: " "{wildcards.model}, seed {wildcards.seed}"
                script:
                    "../scripts/evaluate_edits.py"
