"""What a run ends with, on the screen and in a file: claims, or of given checkpoints a diagnosis.

A trained study can be asked for the diagnosis too, by the name of its file.
"""

PAGES = [artifacts.DIAGNOSIS if study.taken else artifacts.CLAIMS_TEXT]
PAGES += [artifacts.TASKS_TEXT] if SEVERAL_TASKS else []
ANSWERS.append("diagnosis" if study.taken else "claims")


# of given checkpoints: model -> checkpoint -> manifest; step 0 is the base
GIVEN_MANIFESTS = {
    name: {
        c: artifacts.path(artifacts.CHECKPOINT, track=name, seed=0, checkpoint=c)
        for c in GIVEN[name]
        if c != artifacts.sft(0)
    }
    for name in (study.models if study.taken else ())
}


rule diagnosis:
    input:
        **TABLES["diagnosis"],
        manifests=[f for files in GIVEN_MANIFESTS.values() for f in files.values()],
    output:
        table=artifacts.path(artifacts.TABLE, table="diagnosis"),
        page=report(
            artifacts.DIAGNOSIS,
            category="Diagnosis",
            caption="../report/diagnosis.rst",
        ),
    log:
        artifacts.path(artifacts.LOG, job="diagnosis"),
    resources:
        **SMALL,
    params:
        **section("statistics"),
        stages=stage_points(),
        task={t: study.task_of(t) for t in FOLLOWED} if SEVERAL_TASKS else study.trained_on[0],
        matrices=study.spectra.matrices,
        given={name: GIVEN[name] for name in GIVEN_MANIFESTS},
        manifests=GIVEN_MANIFESTS,
        lost_inputs=lambda w: lost_inputs("diagnosis"),
    message:
        "Diagnosis"
    script:
        "../scripts/diagnosis.py"


if not study.taken:

    rule claims:
        input:
            **TABLES["claims"],
            gate=artifacts.path(artifacts.TABLE, table="gate"),
        output:
            table=artifacts.path(artifacts.TABLE, table="claims"),
            text=report(
                artifacts.CLAIMS_TEXT,
                category="Claims",
                caption="../report/claims.rst",
            ),
        log:
            artifacts.path(artifacts.LOG, job="claims"),
        resources:
            **SMALL,
        params:
            **section("statistics"),
            **STUDY,
            recipes=study.rl.facts(),
            landmark=study.rl_landmark,
            stages=stage_points(),
            primary=study.claims.primary,
            contrast=study.claims.contrast,
            seeds=study.seeds,
            lost_inputs=lambda w: lost_inputs("claims"),
        message:
            "Claims, measured"
        script:
            "../scripts/claims.py"


if SEVERAL_TASKS:

    rule task_claims:
        input:
            claims=artifacts.path(artifacts.TABLE, table="claims"),
            window=artifacts.path(artifacts.TABLE, table="rl-window"),
        output:
            table=artifacts.path(artifacts.TABLE, table="task-claims"),
            page=report(
                artifacts.TASKS_TEXT,
                category="Claims",
                caption="../report/task_claims.rst",
            ),
        log:
            artifacts.path(artifacts.LOG, job="task_claims"),
        resources:
            **SMALL,
        params:
            **section("statistics"),
            tracks=track_facts(study, FOLLOWED),
        message:
            "Claims, task by task"
        script:
            "../scripts/task_claims.py"
