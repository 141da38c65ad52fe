"""Tidy tables, each from all models and seeds; every figure is drawn from one of them."""

from healscope.config.facts import recipe_facts

SFT_EVALUATIONS = evaluations(sft_checkpoints())
EVALUATIONS = evaluations([*sft_checkpoints(), *MAIN_BRANCHES])
ALL_EVALUATIONS = evaluations([*sft_checkpoints(), *BRANCHES])
TRAINING_FILES = each(artifacts.TRAINING, run=BRANCHES)
LANDMARK_EVALUATIONS = evaluations([*sft_checkpoints(), *RL_LANDMARK])
LANDMARK_FILES = each(artifacts.LANDMARKS)
# what SFT read, and losses on it, are known of SFT that was done here
SIGNAL_FILES = [] if study.taken else each(artifacts.SIGNALS)
SFT_POOL = [] if study.taken else [artifacts.path(artifacts.SFT_POOL, task=TASK)]
COMPARISON_FILES = each(artifacts.COMPARISON)

STUDY = {
    "sft": study.sft.model_dump(mode="json", include={"deals", "examples"}),
    "drawn": [name for name, p in PROTOCOLS.items() if p.problems == "drawn"],
}

# table -> its inputs, by kind; healscope.tables makes the table of that name from them
TABLES = {
    "gate": {"evaluations": LANDMARK_EVALUATIONS, "landmarks": LANDMARK_FILES},
    "landmarks": {"evaluations": LANDMARK_EVALUATIONS, "landmarks": LANDMARK_FILES},
    "curves": {"evaluations": EVALUATIONS, "pool": SFT_POOL},
    "rl-window": {"evaluations": EVALUATIONS},
    "rl-training": {"logs": TRAINING_FILES},
    "window": {
        "evaluations": EVALUATIONS,
        "logs": each(artifacts.TRAINING, run=MAIN_BRANCHES),
    },
    "recipes": {"evaluations": ALL_EVALUATIONS, "logs": TRAINING_FILES},
    "protocols": {"evaluations": [*EVALUATIONS, *under_other_protocols()]},
    "neighbours": {
        "evaluations": under(NEAR, [*sft_checkpoints(), *RL_LANDMARK]),
        "landmarks": LANDMARK_FILES,
    },
    "exposure": {
        "evaluations": under([EXHAUSTIVE, *OTHERS], sft_checkpoints()[-1]),
        "pool": SFT_POOL,
    },
    "factorial": {"evaluations": EVALUATIONS},
    "errors": {"evaluations": EVALUATIONS, "signals": SIGNAL_FILES},
    "signals": {
        "evaluations": SFT_EVALUATIONS,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOL,
    },
    "stopping": {
        "evaluations": SFT_EVALUATIONS,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOL,
        "landmarks": LANDMARK_FILES,
    },
    "published": {
        "evaluations": [*LANDMARK_EVALUATIONS, *under_other_protocols()],
        "landmarks": LANDMARK_FILES,
    },
    "arms": {
        "evaluations": evaluations(
            [c for a in ["sft", *study.sft.arms] for c in sft_checkpoints(a)]
        )
    },
    "sft-training": {"training": each(artifacts.TRAINING, run="sft")},
    "singular-values": {"comparisons": COMPARISON_FILES},
    "principal-angles": {"comparisons": COMPARISON_FILES},
    "weight-updates": {"comparisons": COMPARISON_FILES},
    "hidden-states": {"states": each(artifacts.HIDDEN_STATES)},
    "claims": {
        "evaluations": [*ALL_EVALUATIONS, *under_other_protocols()],
        "logs": TRAINING_FILES,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOL,
        "edits": [f for stage in STAGES for f in edit_files(stage)],
        "landmarks": LANDMARK_FILES,
    },
    **{
        f"reversion-{stage}": {
            "edits": edit_files(stage),
            "evaluations": stage_evaluations(stage),
            "landmarks": LANDMARK_FILES,
        }
        for stage in STAGES
    },
}
if "sft" in STAGES:
    TABLES["repair"] = {
        **TABLES["reversion-sft"],
        "evaluations": list(dict.fromkeys([*LANDMARK_EVALUATIONS, *stage_evaluations("sft")])),
    }

TABLES["diagnosis"] = {
    "evaluations": EVALUATIONS,
    "edits": edit_files("sft") if "sft" in STAGES else [],
    "landmarks": LANDMARK_FILES,
}
if not MAIN_BRANCHES:
    TABLES.pop("rl-window")
if not NEAR:
    TABLES.pop("neighbours")
if study.taken:
    TABLES = {name: inputs for name, inputs in TABLES.items() if name not in TRAINED_ONLY}

WITH_TEXT = ["claims", "diagnosis"]  # tables that come with a text to read, see answers.smk

# tables that answer a question by themselves
ANSWERS = ["exposure", "protocols", "published"]
if len(SEEDS) > 1:
    ANSWERS.append("mask-overlap")
if study.taken:
    ANSWERS = ["protocols"]


rule table:
    input:
        unpack(lambda w: TABLES[w.table]),
        published=lambda w: PUBLISHED_FILES if w.table == "published" else [],
    output:
        artifacts.TABLE,
    log:
        log_of("table", "table"),
    wildcard_constraints:
        table="|".join(name for name in TABLES if name not in WITH_TEXT),
    group:
        one_job("tables")
    resources:
        **SMALL,
    params:
        **section("statistics"),
        **STUDY,
        # only tables made from training logs know of recipes: a new one makes no other table again
        recipes=lambda w: recipe_facts(study.rl) if "logs" in TABLES[w.table] else {},
        landmark=lambda w: study.rl_landmark if "logs" in TABLES[w.table] else "",
        stages=lambda w: stage_points() if "edits" in TABLES[w.table] else {},
        lost_inputs=lambda w: lost_inputs(w.table),
    message:
        "Table {wildcards.table}"
    script:
        "../scripts/table.py"
