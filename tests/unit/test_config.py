"""The config fails before any job, with a message that names the key; its files are in step."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from healscope import config
from healscope.errors import HealscopeError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data():
    return yaml.safe_load((ROOT / "config/micro.yaml").read_text())


def broken(data, path, value):
    data = copy.deepcopy(data)
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return data


@pytest.mark.parametrize("name", ["config.yaml", "micro.yaml"])
def test_shipped_configs_are_valid(name):
    study = config.load(yaml.safe_load((ROOT / "config" / name).read_text()))
    assert study.rl_landmark in {b.name for b in study.rl.branches}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["sft", "step"], 10, "sft.step: unknown key"),
        (["seeds"], "zero", "seeds"),
        (["sft", "steps"], 0, "sft.steps"),
        (["sft", "checkpoints"], [0, 4, 99], "step 99 is beyond steps=12"),
        (["sft", "checkpoints"], [4, 0], "must increase"),
        (
            ["edits", "leading_layers"],
            [3],
            "edits.leading_layers: 3, but model 'micro' has 2 layers",
        ),
        (["edits", "leading_ranks"], [1.5], "edits.leading_ranks.0"),
        (
            ["rl", "branches", 1, "start"],
            5,
            "rl.branches[1].start: step 5 is not in sft.checkpoints",
        ),
        (["rl", "branches", 1, "lerning_rate"], 1, "rl.branches.1.lerning_rate: unknown key"),
        (["rl", "branches", 1, "start"], 0, "same algorithm and start"),
        (["landmarks", "end"], 12.5, "landmarks.end"),
        (["landmarks", "maxood"], 3, "landmarks.maxood: step 3 is not in sft.checkpoints"),
        (["landmarks", "rl"], "ppo-from-7", "no branch 'ppo-from-7'"),
        (["train_on"], "gp9", "'gp9' is not in tasks"),
        (["tasks", "gp3", "held_out"], 1.0, "tasks.gp3.held_out"),
        (["tasks", "gp3", "rendering"], "json", "reads only 'compact'"),
        (["tasks", "gp3", "verifier"], "lenient", "tasks.gp3.verifier"),
        (["models", "micro", "source"], "some/model", "section 'scratch' belongs to"),
        (["evaluation", "samples"], 4, "evaluation.samples: unknown key"),
        (["evaluation", "protocols"], {"mine": {}}, "'exhaustive' must be there"),
        (["evaluation", "protocols", "exhaustive"], {"temperature": 1.0}, "must be there, greedy"),
        (["evaluation", "protocols", "paper"], {"attempts": 3}, "need each other"),
        (["evaluation", "protocols", "paper"], {"feedback": ["full"]}, "need each other"),
        (["evaluation", "protocols", "paper"], {"problems": "some"}, "protocols.paper.problems"),
        (["seeds"], [1, 1], "the same seed twice"),
        (["tasks", "gp3", "verifier"], "reference", "grades the formula alone"),
        (["tasks", "gp3", "targets"], [24, 24], "tasks.gp3.targets: [24, 24] holds the same value"),
        (["tasks", "gp3", "ood_rule"], {"J": 11, "Q": 12, "K": 1000}, "tasks.gp3.ood_rule.K"),
        (["tasks", "gp3", "rewards"], {"correct": float("nan")}, "tasks.gp3.rewards.correct"),
        (["edits", "leading_ranks"], [1e-5], "edits.leading_ranks.0"),
        (["edits", "leading_layers"], [], "edits.leading_layers"),
        (["spectra"], {"matrices": ["q", "q"]}, "spectra.matrices"),
    ],
)
def test_a_wrong_value_is_named(data, path, value, expected):
    with pytest.raises(HealscopeError) as error:
        config.load(broken(data, path, value))
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 2  # one sentence and one line for the key


def test_a_mixture_of_nothing_is_named(data):
    mixture = dict.fromkeys(["random", "id", "ood", "same", "consecutive"], 0.0)
    data["models"]["micro"]["scratch"]["pretraining"]["rules"] = mixture
    with pytest.raises(HealscopeError, match="pretraining.rules: at least one share"):
        config.load(data)


def test_a_task_the_model_has_no_words_for_is_named(data):
    data["tasks"]["other"] = {**data["tasks"]["gp3"], "targets": [97]}
    with pytest.raises(HealscopeError, match=r"model 'micro' has no word for \[97\]"):
        config.load(data)


def test_missing_section_is_named(data):
    del data["rl"]
    with pytest.raises(HealscopeError, match="rl: Field required"):
        config.load(data)


def test_branches_inherit_and_override(data):
    data["rl"]["defaults"]["optimizer"] = {"learning_rate": 1e-5, "beta2": 0.9}
    data["rl"]["branches"][1]["optimizer"] = {"learning_rate": 1e-3}
    study = config.load(data)
    assert study.rl.branches[0].optimizer.learning_rate == 1e-5
    assert study.rl.branches[1].optimizer.learning_rate == 1e-3
    assert study.rl.branches[1].optimizer.beta2 == 0.9
    assert study.rl.branches[1].iterations == 4


def test_schema_file_is_generated_from_the_models():
    stored = json.loads((ROOT / "workflow/schemas/study.schema.json").read_text())
    assert stored == config.schema(), "run `make schema`"


def _keys(value, prefix=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield prefix + key
            yield from _keys(inner, f"{prefix}{key}.")


def test_default_config_shows_every_key():
    """config.yaml is the annotated reference: no setting of the models is missing from it."""
    shown = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    full = config.load(shown).model_dump(mode="json")
    full["rl"].pop("branches")  # each branch inherits from rl.defaults
    protocols = full["evaluation"]["protocols"]
    full["evaluation"]["protocols"] = {"exhaustive": protocols["exhaustive"]}  # shown there once
    missing = set(_keys(full)) - set(_keys(shown))
    assert not missing


def test_default_config_explains_every_key():
    lines = (ROOT / "config/config.yaml").read_text().splitlines()
    bare = [
        line
        for i, line in enumerate(lines)
        if ":" in line
        and not line.strip().startswith(("#", "-"))
        and "#" not in line
        and not lines[i - 1].strip().startswith("#")
        and not line.rstrip().endswith(":")
    ]
    assert not bare
