"""Tidy tables, each from all models and seeds; every figure is drawn from one of them."""

SFT_EVALUATIONS = each(artifacts.EVALUATION, checkpoint=SFT_CHECKPOINTS, task=TASK)
RL_EVALUATIONS = each(artifacts.EVALUATION, checkpoint=list(BRANCHES), task=TASK)
LANDMARK_EVALUATIONS = each(
    artifacts.EVALUATION, checkpoint=[*SFT_CHECKPOINTS, study.rl_landmark], task=TASK
)
LANDMARK_FILES = each(artifacts.LANDMARKS)
PAIRS = ["base--end", "base--rl", "maxood--end", "end--rl"]
COMPARISON_FILES = [
    f
    for pair in PAIRS
    for f in each(artifacts.COMPARISON, a=pair.split("--")[0], b=pair.split("--")[1])
]


# table -> its inputs, by kind; the function of that name in healscope.tables makes it
TABLES = {
    "landmarks": {"evaluations": LANDMARK_EVALUATIONS, "landmarks": LANDMARK_FILES},
    "curves": {"evaluations": SFT_EVALUATIONS + RL_EVALUATIONS},
    "rl-window": {"evaluations": SFT_EVALUATIONS + RL_EVALUATIONS},
    "sft-training": {"training": each(artifacts.TRAINING, run="sft")},
    "singular-values": {"comparisons": COMPARISON_FILES},
    "principal-angles": {"comparisons": COMPARISON_FILES},
    "hidden-states": {"states": each(artifacts.HIDDEN_STATES, landmark=["maxood", "end", "rl"])},
    "claims": {
        "evaluations": SFT_EVALUATIONS + RL_EVALUATIONS,
        "training": each(artifacts.TRAINING, run="sft"),
        "edits": [f for s in artifacts.EDIT_STAGES for g in EDIT_GROUPS for f in edit_files(s, g)],
        "landmarks": LANDMARK_FILES,
    },
    **{
        f"reversion-{stage}-{group}": {
            "edits": edit_files(stage, group),
            "evaluations": LANDMARK_EVALUATIONS if stage == "rl" else SFT_EVALUATIONS,
            "landmarks": LANDMARK_FILES,
        }
        for stage in artifacts.EDIT_STAGES
        for group in EDIT_GROUPS
    },
}


rule table:
    input:
        unpack(lambda w: TABLES[w.table]),
    output:
        artifacts.TABLE,
    log:
        log_of("table", "table"),
    wildcard_constraints:
        table="|".join(name for name in TABLES if name != "claims"),
    params:
        **section("statistics"),
        losses=lambda w: losses(w.table),
    message:
        "Table {wildcards.table}"
    script:
        "../scripts/table.py"


rule claims:
    input:
        **TABLES["claims"],
    output:
        table=artifacts.path(artifacts.TABLE, table="claims"),
        text=report(
            artifacts.CLAIMS_TEXT,
            category="Claims",
            caption="../report/claims.rst",
        ),
    log:
        artifacts.path(artifacts.LOG, job="claims"),
    params:
        **section("statistics"),
        losses=lambda w: losses("claims"),
    message:
        "Claims, measured"
    script:
        "../scripts/claims.py"
