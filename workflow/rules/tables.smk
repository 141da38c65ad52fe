"""Tidy tables, each from all tracks and seeds; every figure is drawn from one of them."""

from healscope.config.tracks import track_facts

SFT_EVALUATIONS = evaluations(sft_checkpoints())
EVALUATED = [*sft_checkpoints(), *MAIN_BRANCHES]
EVALUATIONS = evaluations(EVALUATED)
ALL_EVALUATIONS = evaluations([*sft_checkpoints(), *BRANCHES])
TRAINING_FILES = each(artifacts.TRAINING, run=BRANCHES)
AT_LANDMARKS = [*sft_checkpoints(), *RL_LANDMARK]
LANDMARK_EVALUATIONS = evaluations(AT_LANDMARKS)
LANDMARK_FILES = each(artifacts.LANDMARKS)
SIGNAL_FILES, SFT_POOLS = signal_files(), sft_pools()
COMPARISON_FILES = each(artifacts.COMPARISON)

STUDY = {
    "sft": study.sft.model_dump(mode="json", include={"deals", "examples"}),
    "drawn": [name for name, p in PROTOCOLS.items() if p.problems == "drawn"],
}

# table -> its inputs, by kind; healscope.tables makes the table of that name from them
TABLES = {
    "gate": {"evaluations": LANDMARK_EVALUATIONS, "landmarks": LANDMARK_FILES},
    "landmarks": {"evaluations": LANDMARK_EVALUATIONS, "landmarks": LANDMARK_FILES},
    "curves": {"evaluations": EVALUATIONS, "pool": SFT_POOLS},
    "rl-window": {"evaluations": EVALUATIONS},
    "rl-training": {"logs": TRAINING_FILES},
    "window": {
        "evaluations": EVALUATIONS,
        "logs": each(artifacts.TRAINING, run=MAIN_BRANCHES),
    },
    "recipes": {"evaluations": ALL_EVALUATIONS, "logs": TRAINING_FILES},
    "protocols": {"evaluations": [*EVALUATIONS, *under_other_protocols()]},
    "episodes": {
        "evaluations": [*evaluations(EVALUATED, EPISODIC), *under_other_protocols(EPISODIC)]
    },
    "neighbours": {
        "evaluations": each(artifacts.EVALUATION, CARDS, protocol=NEAR, checkpoint=AT_LANDMARKS),
        "landmarks": each(artifacts.LANDMARKS, CARDS),
    },
    "exposure": {
        "evaluations": [
            *evaluations(sft_checkpoints()[-1], CARDS),
            *each(artifacts.EVALUATION, CARDS, protocol=OTHERS, checkpoint=sft_checkpoints()[-1]),
        ],
        "pool": sft_pools(CARDS),
    },
    "factorial": {"evaluations": evaluations(EVALUATED, CARDS)},
    "errors": {"evaluations": evaluations(EVALUATED, CARDS), "signals": signal_files(CARDS)},
    "signals": {
        "evaluations": SFT_EVALUATIONS,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOLS,
    },
    "stopping": {
        "evaluations": SFT_EVALUATIONS,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOLS,
        "landmarks": LANDMARK_FILES,
    },
    "published": {
        "evaluations": [*evaluations(AT_LANDMARKS, CARDS), *under_other_protocols(CARDS)],
        "landmarks": each(artifacts.LANDMARKS, CARDS),
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
    "hidden-states": {"states": each(artifacts.probe("hidden-states"))},
    "claims": {
        "evaluations": [*ALL_EVALUATIONS, *under_other_protocols()],
        "logs": TRAINING_FILES,
        "signals": SIGNAL_FILES,
        "pool": SFT_POOLS,
        "edits": [f for stage in STAGES for f in edit_files(stage)],
        "landmarks": LANDMARK_FILES,
    },
    "task-landmarks": {
        "evaluations": evaluations(AT_LANDMARKS, TRACKS),
        "landmarks": each(artifacts.LANDMARKS, TRACKS),
    },
    "task-curves": {"evaluations": evaluations(EVALUATED, TRACKS)},
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
if not EPISODIC:
    TABLES.pop("episodes")
TABLES = {name: inputs for name, inputs in TABLES.items() if name not in ABSENT}

WITH_TEXT = ["claims", "diagnosis"]  # tables that come with a text to read, see answers.smk

# tables that answer a question by themselves
ANSWERS = [name for name in ("exposure", "protocols", "published") if name in TABLES]
if len(SEEDS) > 1:
    ANSWERS.append("mask-overlap")

# tables that hold all tracks side by side, also those that are not followed
OF_ALL_TRACKS = ["task-landmarks", "task-curves"]


TABLE_PARAMS = {
    **section("statistics"),
    **STUDY,
    # only tables made from training logs know of recipes: a new one makes no other table again
    "recipes": lambda w: study.rl.facts() if "logs" in TABLES[w.table] else {},
    "landmark": lambda w: study.rl_landmark if "logs" in TABLES[w.table] else "",
    "stages": lambda w: stage_points() if "edits" in TABLES[w.table] else {},
    "lost_inputs": lambda w: lost_inputs(w.table),
}


rule table:
    input:
        unpack(lambda w: TABLES[w.table]),
        published=lambda w: PUBLISHED_FILES if w.table in ("published", "task-landmarks") else [],
    output:
        artifacts.TABLE,
    log:
        log_of("table", "table"),
    wildcard_constraints:
        table=one_of(t for t in TABLES if t not in [*WITH_TEXT, *OF_ALL_TRACKS]),
    group:
        one_job("tables")
    resources:
        **SMALL,
    params:
        **TABLE_PARAMS,
    message:
        "Table {wildcards.table}"
    script:
        "../scripts/table.py"


use rule table as table_of_tasks with:
    wildcard_constraints:
        table=one_of(OF_ALL_TRACKS),
    params:
        **TABLE_PARAMS,
        tracks=track_facts(study, TRACKS),
