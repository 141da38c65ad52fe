"""Findings about RL after SFT, of a miniature study by real jobs."""

import json
import re
from copy import deepcopy

import pandas as pd
import pytest
from runner import Workflow

from healscope.findings import FINDINGS

SYSTEMS = [
    "forms",
    "phases",
    "sparsity",
    "hard-samples",
    "without-one",
    "faithfulness",
    "calibration",
    "experience",
    "confidence",
    "what-breaks",
    "knowledge",
    "memory",
    "steps",
    "critique",
]


def asking(workflow: Workflow) -> Workflow:
    """Ask the micro study for them, with few other branches."""
    config = workflow.config
    config["seeds"] = [0, 1]
    config["tasks"]["gp3"]["confidence"] = True
    config["models"]["micro"]["scratch"]["pretraining"]["cards"] = {2: 0.3, 3: 0.7}
    band = {"pass_rate": [0.0, 1.0]}  # a model that has learned nothing solves nothing
    config["rl"]["pools"] = {"problems": 16, "samples": 2}
    config["rl"]["recipes"] |= {
        "ppo": {"keep_answers": 2},
        "any_form": {"like": "ppo", "reward": {"any_form": 1.0}},
        "medium": {"like": "grpo", "reward": {"binary": 1.0}, "problems": band},
        "hard": {"like": "medium", "problems": {"pass_rate": [0.0, 0.1]}},
        "leaky": {"like": "hard", "reward": {"value_only": 1.0}},
        "none": {"like": "medium", "problems": "unsolvable"},
        "whole": {
            "like": "ppo",
            "keep_answers": None,
            "samples_per_prompt": 4,
            "credit": {},
            "reward": {"binary": 1.0},
            "token_budget": 100_000,
        },
        "outcome": {"like": "whole", "prefixes": "expert"},
        "steps": {"like": "outcome", "reward": {"similar": 1.0}},
        "wrong": {"like": "steps", "prefixes": "another"},
        "sft_steps": {"like": "sft_matched", "examples": "fresh", "prefixes": True},
        "critic": {"like": "whole", "off_policy": {"share": 0.25}},
        "pays_binary": {"like": "ppo", "keep_answers": None, "reward": {"binary": 1.0}},
        "pays_brier": {"like": "pays_binary", "reward": {"binary": 0.5, "brier": 0.5}},
    }
    config["rl"]["branches"] = {
        "ppo": [8], "any_form": [0], "sft_matched": [8],
        **dict.fromkeys(("medium", "hard", "leaky", "none", "pays_binary", "pays_brier"), [8]),
        **dict.fromkeys(("whole", "outcome", "steps", "wrong", "sft_steps", "critic"), [8]),
    }  # fmt: skip
    # a model of its own, of which only what these two ask for is made
    config["tasks"]["named"] = config["tasks"]["gp3"] | {
        "confidence": False, "rule_shown": "name", "grade_number_line": False,
    }  # fmt: skip
    config["models"]["reader"] = deepcopy(config["models"]["micro"]) | {"followed": False}
    reading = {"cards": None, "contexts": 0.5, "rule_noise": 0.0}
    config["models"]["reader"]["scratch"]["pretraining"] |= reading
    config["rl"]["recipes"] |= {
        "rlag": {"rounds": 2},
        "rlag_bare": {"like": "rlag", "given": "bare"},
        "rlag_false": {"like": "rlag_bare", "told": "false knowledge"},
        "told_sft_steps": {"like": "told_sft", "budget": "steps"},
    }
    teaching = (
        "rlag", "rlag_bare", "rlag_false", "told_sft", "told_sft_steps", "told_dpo", "told_text",
    )  # fmt: skip
    config["rl"]["branches_of"] = {"reader.named": dict.fromkeys(teaching, [0])}
    config["evaluation"]["protocols"] = {
        "exhaustive": {"samples": 2},
        "deep": {"problems": "drawn", "hands": 8, "samples": 4, "sample_temperature": 1.0},
        "less": {"problems": "without_one", "per_kind": 12},
        "critic": {
            "problems": "drawn",
            "hands": 8,
            "attempts": 2,
            "feedback": ["none", "leak", "critique", "another"],
        },
        "walks": {"problems": "walks", "per_kind": 4},
        "told": {"problems": "contexts", "per_kind": 4},
    }
    config["tasks"]["nav"] = {
        "family": "navigation", "rendering": "compact", "generated": 40, "legs": [2, 3],
        "drop_rate": 0.0, "straight_line_length": 1, "moved_by": "own", "pushed_off": 0.3,
    }  # fmt: skip
    config["rl"]["branches_of"]["micro.nav"] = {}
    config["claims"] = {"systems": SYSTEMS, "primary": ["hard-samples-harm"]}
    return workflow


@pytest.mark.long
def test_every_system_ends_with_its_table_its_claims_and_its_figure(forks, tmp_path):
    workflow = asking(Workflow(tmp_path / "systems", forks))
    figures = [f"results/figures/fig_{name.replace('-', '_')}.png" for name in SYSTEMS]
    claims = "results/tables/claims.parquet"
    workflow.run(*figures, claims, "--skip-script-cleanup")
    for file in workflow.folder.glob(".snakemake/scripts/*.py"):
        if not file.name.endswith(".pool.py"):
            file.unlink()
    assert workflow.fresh() == {"pool.py"}  # also in a process of its own
    for name in SYSTEMS:
        table = pd.read_parquet(workflow.folder / f"results/tables/{name}.parquet")
        assert len(table), name
    made = set(pd.read_parquet(workflow.folder / claims)["claim"])
    wanted = {
        "rl-amplifies-beyond-selection", "execution-errors-fall-first", "hard-samples-harm",
        "rl-is-sparser-than-sft-as-long", "rl-collapses-on-a-card-less", "a-leaky-verifier-harms",
        "early-experience-teaches",
        "brier-reward-knows-which", "reward-decides-ood",
        "rlag-teaches-more-than-sft", "memory-helps",
    }  # fmt: skip
    assert wanted <= made
    sparsity = pd.read_parquet(workflow.folder / "results/tables/sparsity.parquet")
    assert set(sparsity["arm"]) == {"rl", "sft", "sft scaled", "noise"}
    folder = workflow.folder / "results/checkpoints/micro/seed-0"
    kept = pd.read_parquet(folder / "ppo-from-8/answers.parquet")
    assert set(kept["iteration"]) == {1, 3}
    listed = json.loads((folder / "ppo-from-8/checkpoint.json").read_text())["files"]
    assert "answers.parquet" in listed
    assert not (folder / "medium-from-8/answers.parquet").exists()
    rates = pd.read_parquet(workflow.folder / "results/pools/micro/seed-0/sft-8.parquet")
    assert (len(rates), set(rates["samples"])) == (16, {2})
    # what is measured at a start is measured once for all arms that begin there
    assert not (workflow.folder / "results/pools/micro/seed-0/sft-0.parquet").exists()
    assert workflow.plan(*figures, claims) == {}


def test_a_study_that_does_not_ask_makes_nothing_of_it(touched):
    plan = touched.plan()
    assert not {"pool", "measure_sparsity", "fig_forms", "fig_phases"} & set(plan)
    names = [name for name, finding in FINDINGS.items() if finding.system]
    assert sorted(names) == sorted(SYSTEMS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"systems": ["shapes"]}, r"claims.systems: 'shapes' is not one of .*forms"),
        ({"systems": ["phases"]}, "'phases' needs responses that RL keeps: set rl.recipes.ppo"),
        ({"systems": ["forms"]}, "'forms' needs a branch of a recipe that pays every form"),
        ({"systems": ["without-one"]}, "'without-one' needs a protocol, as"),
        ({"systems": ["hard-samples"]}, "'hard-samples' needs branches on problems of a measured"),
        ({"systems": ["experience"]}, "'experience' needs a protocol, as"),
        ({"systems": ["knowledge"]}, "'knowledge' needs a track with branches that teach a rule"),
        ({"systems": ["memory"]}, "'memory' needs a protocol, as evaluation.protocols.told"),
        ({"systems": ["sparsity"]}, r"'sparsity' needs SFT of the same length: rl.branches"),
        ({"systems": ["confidence"]}, r"'confidence' needs a card game whose answers state a conf"),
        (
            {"systems": ["what-breaks"]},
            r"'what-breaks' needs at least two recipes that",
        ),
    ],
)
def test_what_a_study_lacks_is_said_before_the_first_job(touched, change, said):
    touched.config["claims"] |= change
    assert re.search(said, touched.fails("--dry-run"))
