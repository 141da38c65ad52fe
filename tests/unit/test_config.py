"""The config fails before any job, with a message that names the key; its files are in step."""

import copy
import json
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from healscope import artifacts, config
from healscope.config.annotated import complete
from healscope.errors import HealscopeError
from healscope.sections import merged

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


def shipped(*names):
    """What Snakemake makes of these config files together."""
    data = {}
    for name in names:
        data = merged(data, yaml.safe_load((ROOT / "config" / name).read_text()))
    return config.load(data)


@pytest.mark.parametrize(
    "names",
    [
        ("config.yaml",),
        ("micro.yaml",),
        ("config.yaml", "what-heals.yaml"),
        ("config.yaml", "algorithms.yaml"),
        ("config.yaml", "rotation-aware.yaml"),
        ("config.yaml", "neighbours.yaml"),
        ("config.yaml", "protocols.yaml", "ten-seeds.yaml"),
        ("config.yaml", "is-it-rotation.yaml"),
        ("config.yaml", "development-seeds.yaml"),
        ("paper.yaml",),
        ("paper.yaml", "paper-published.yaml"),
        ("paper.yaml", "paper-decides.yaml"),
        ("one-gpu.yaml",),
        ("worlds.yaml",),
    ],
)
def test_shipped_configs_are_valid(names):
    study = shipped(*names)
    assert study.rl_landmark in study.branches
    about_edits = {name for name in study.claims.primary if "-beat-" in name}
    made = {
        f"{kind}-beat-{control}-{stage}"
        for stage in study.edits.stages
        for kind, controls in study.edits.controls.items()
        for control in controls
    }
    assert about_edits <= made, "a primary claim that the study cannot judge"


@pytest.mark.parametrize("overlay", ["what-heals.yaml", "algorithms.yaml", "rotation-aware.yaml"])
def test_an_overlay_shares_the_results_of_the_default_study(overlay):
    """Results lie under the same names, so everything both ask for has to agree."""
    default, more = shipped("config.yaml"), shipped("config.yaml", overlay)
    for section in ("tasks", "models", "landmarks", "spectra", "edits", "statistics"):
        assert getattr(default, section) == getattr(more, section), section
    left_out = {"protocols"}
    assert default.evaluation.model_dump(exclude=left_out) == more.evaluation.model_dump(
        exclude=left_out
    )
    for name, protocol in more.evaluation.protocols.items():
        assert default.evaluation.protocols[name] == protocol, name
    asked = {"arms", "methods"}
    assert default.sft.model_dump(exclude=asked) == more.sft.model_dump(exclude=asked)
    assert set(default.branches) <= set(more.branches)
    for name, recipe in default.rl.recipes.items():
        assert more.rl.recipes[name] == recipe, name
    for name, method in default.sft.methods.items():
        assert more.sft.methods[name] == method, name


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["sft", "step"], 10, "sft.step: unknown key"),
        (["evaluatoin"], {}, "evaluatoin: unknown key (a typo of evaluation, or a key of"),
        (["evaluation", "batchsize"], 4, "unknown key (a typo of batch_size, or"),
        (["evaluation", "held_out"], 4, "unknown key (a typo, or a key of another section?)"),
        (["seeds"], 0, "seeds: Input should be a valid list; put it in brackets, as [0], got 0"),
        (["seeds"], [True], "seeds.0: a number is needed, and YAML reads yes, no, on and off as"),
        (["evaluation", "batch_size"], True, "evaluation.batch_size: a number is needed"),
        (["tasks", "gp3", "held_out"], True, "tasks.gp3.held_out"),
        (["statistics"], {"resamples": "1e3"}, "text: write 1000, got '1e3'"),
        (["statistics"], 5, "statistics: a section is needed, as {key: value}, got 5"),
        (["rl", "main"], "my-ppo", "rl.main: a name has lower-case letters, digits, '.' and '_'"),
        (["sft", "steps"], 0, "sft.steps"),
        (["sft", "checkpoints"], [0, 4, 99], "step 99 is beyond steps=12"),
        (["sft", "checkpoints"], [4, 0], "must increase"),
        (["sft", "arms"], ["diverse", "diverse"], "'diverse'] holds the same value twice"),
        (["sft", "arms"], ["sft"], "sft: arms: no arm 'sft'; there are diverse, solutions, rpsft"),
        (["sft", "methods"], {"kl": {"strength": 0}}, "sft.methods.kl.strength"),
        (["sft", "methods"], {"kl": {"share": 0.5}}, "sft.methods.kl.share: unknown key"),
        (["sft", "methods"], {"protected": {"share": 1}}, "sft.methods.protected.share"),
        (["sft", "methods"], {"replay": {"share": 1}}, "sft.methods.replay.share: Input should be"),
        (["sft", "methods"], {"mine": {"like": "rpft"}}, "methods.mine.like: there is no 'rpft'"),
        (["sft", "methods"], {"mine": {"share": 0.5}}, "sft.methods.mine: Unable to extract tag"),
        (["sft", "methods"], {"rl": {"like": "kl"}}, "'rl' means something else"),
        (["edits", "axes"], {"layers": [3]}, "edits.axes.layers: 3, but model 'micro' has 2"),
        (["edits", "controlled"], {"last": [3]}, "edits.controlled.last: 3, but model 'micro'"),
        (["edits", "axes"], {"block": ["1..3"]}, "edits.axes.block: 1..3, but model 'micro' has"),
        (["edits", "axes"], {"rank": [1.5]}, "edits: edit 'values-rank-1.5': rank must be a share"),
        (["edits", "axes"], {"rank": [1e-11]}, "edits: edit 'values-rank-0': rank must be a share"),
        (["edits", "axes"], {"rank": []}, "edits.axes.rank"),
        (["edits", "axes"], {"roles": ["q"]}, "edits.axes.roles"),
        (["edits", "axes"], {"strength": [1]}, "edits: strength: 1 is the whole edit"),
        (["edits", "also"], {"swap-layer-7": []}, "'swap-layer-7' needs 8 layers for layer, but"),
        (["edits", "also"], {"swap-last-3": []}, "'swap-last-3' needs 3 layers for last, but"),
        (
            ["edits", "also"],
            {"swap-layer-0+values-block-1..5": []},
            "needs 5 layers for block, but model 'micro' has 2 layers",
        ),
        (["edits", "also"], {"swap-roles-q.head": []}, "'swap-roles-q.head' is of role head, and"),
        (["edits", "also"], {"swap-roles-heads": []}, "is of role heads, and spectra.matrices has"),
        (["edits", "also"], {"swap-layers-1-last-1": []}, "edits: 'swap-layers-1-last-1' selects"),
        (
            ["spectra"],
            {"matrices": ["embeddings"]},
            "edits: 'values-layers-1' selects nothing, as model 'micro' has 2 layers, and",
        ),
        (["edits", "kinds"], ["vectors"], "edits.kinds.0"),
        (["edits", "controls"], {"swap": ["magic"]}, "edits.controls.swap.0"),
        (
            ["edits", "stages"],
            {"late": {"target": "sft-12", "parent": "sft-5"}},
            "edits.stages.late: 'sft-5' is neither a landmark (base, maxood, end, rl) nor a",
        ),
        (
            ["edits", "stages"],
            {"none": {"target": "end", "parent": "end"}},
            "edits.stages.none: 'end' cannot be put back to itself",
        ),
        (["rl", "branches", "grpo"], [5], "rl.branches.grpo: step 5 is not in sft.checkpoints"),
        (["rl", "branches", "grpo"], [4, 4], "'grpo' needs at least one start, and none twice"),
        (
            ["rl", "branches", "gppo"],
            [4],
            "rl: no recipe 'gppo'; there are ppo, ppo_multi, ppo_reference",
        ),
        (["rl", "main"], "gppo", "rl: no recipe 'gppo'"),
        (["rl", "main"], "diverging", "rl.main: 'diverging' has no start in rl.branches"),
        (["rl", "recipes", "ppo"], {"lerning_rate": 1}, "recipes.ppo.lerning_rate: unknown"),
        (["rl", "recipes", "grpo"], {"attempts": 2}, "recipes.grpo.attempts: unknown key"),
        (["rl", "recipes", "rft"], {"reward": {"format": 1}}, "recipes.rft.reward: unknown key"),
        (["rl", "recipes", "x"], {"like": "y"}, "recipes.x.like: there is no 'y'"),
        (["rl", "recipes", "x"], {"like": "x"}, "recipes.x.like: 'x' comes back to itself"),
        (["rl", "recipes", "x"], {"clip": 0.1}, "recipes.x: Unable to extract tag"),
        (["rl", "recipes", "ppo"], {"kl": "loss"}, "need each other"),
        (["rl", "recipes", "grpo"], {"samples_per_prompt": 3}, "must be a multiple of samples"),
        (["rl", "recipes", "ppo"], {"reward": {"brier": 1}}, "recipes.ppo.reward.brier: needs ans"),
        (["rl", "recipes", "ppo"], {"reward": {"binary": 0}}, "reward: every weight is 0, so that"),
        (["rl", "recipes", "ppo"], {"reward": {"joy": 1}}, "recipes.ppo.reward.joy"),
        (["landmarks", "end"], 12.5, "landmarks.end"),
        (["landmarks", "maxood"], 3, "landmarks.maxood: step 3 is not in sft.checkpoints"),
        (["landmarks", "rl"], "ppo-from-7", "no branch 'ppo-from-7'"),
        (["train_on"], "gp9", "'gp9' is not in tasks"),
        (["tasks", "gp3", "held_out"], 1.0, "tasks.gp3.held_out"),
        (["tasks", "other"], {"cards": 3}, "model 'micro' reads only rendering 'compact', as"),
        (["checkpoints"], {"keep": "none"}, "checkpoints.keep"),
        (["tasks", "gp3", "verifier"], "lenient", "tasks.gp3.verifier"),
        (["models", "micro", "source"], "some/model", "section 'scratch' belongs to"),
        (["evaluation", "samples"], 4, "evaluation.samples: unknown key"),
        (["evaluation", "protocols"], {"mine": {}}, "'exhaustive' must be there"),
        (["evaluation", "protocols", "exhaustive"], {"temperature": 1.0}, "must be there, greedy"),
        (
            ["evaluation", "protocols", "paper"],
            {"attempts": 3},
            "needs at least one level of feedback",
        ),
        (
            ["evaluation", "protocols", "paper"],
            {"feedback": ["full"]},
            "needs at least one level of feedback",
        ),
        (["evaluation", "protocols", "paper"], {"problems": "some"}, "protocols.paper.problems"),
        (["evaluation", "protocols", "near"], {"per_kind": 0}, "protocols.near.per_kind"),
        (["evaluation", "protocols", "near"], {"per_kind": "few"}, "protocols.near.per_kind"),
        (["evaluation", "protocols", "near"], {"kinds": ["rule"]}, "near.kinds: unknown key"),
        (["evaluation", "protocols", "near", "samples"], 2, "near: neighbours are asked once"),
        (
            ["evaluation", "protocols", "near"],
            {"problems": "neighbours", "attempts": 2, "feedback": ["none"]},
            "near: neighbours are asked once: leave out samples, attempts and feedback",
        ),
        (["evaluation", "protocols", "exhaustive", "problems"], "neighbours", "asked once"),
        (
            ["evaluation", "max_new_tokens"],
            23,
            "evaluation.max_new_tokens: 23, but an answer with 4 cards, which protocol 'near'",
        ),
        (["seeds"], [1, 1], "the same seed twice"),
        (["tasks", "gp3", "verifier"], "reference", "grades the formula alone"),
        (["tasks", "gp3", "targets"], [24, 24], "tasks.gp3.targets: [24, 24] holds the same value"),
        (["tasks", "gp3", "ood_rule"], {"J": 11, "Q": 12, "K": 1000}, "tasks.gp3.ood_rule.K"),
        (["tasks", "gp3", "rewards"], {"correct": float("nan")}, "tasks.gp3.rewards.correct"),
        (["spectra"], {"matrices": ["q", "q"]}, "spectra.matrices"),
        (
            ["models", "micro", "scratch", "pretraining"],
            {"conversations": 1.5},
            "pretraining.conversations",
        ),
    ],
)
def test_a_wrong_value_is_named(data, path, value, expected):
    with pytest.raises(HealscopeError) as error:
        config.load(broken(data, path, value))
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 2  # one sentence and one line for the key


def test_edits_of_any_two_checkpoints_can_be_asked_for(data):
    points = {"target": "ppo-from-12", "parent": "base"}
    data["edits"] = {"stages": {"back": points}, "axes": {"band": ["0.5..1"], "strength": [0.5]}}
    edits = config.load(data).edits
    assert edits.stages["back"].model_dump() == points
    assert "swap-band-0.5..1" in edits.names()
    assert "directions-strength-0.5" in edits.names()
    data["sft"]["checkpoints"] = [4, 8, 12]
    with pytest.raises(HealscopeError, match="edits.stages.back: base needs step 0"):
        config.load(data)


def test_a_mixture_of_nothing_is_named(data):
    mixture = dict.fromkeys(["random", "id", "ood", "same", "consecutive"], 0.0)
    data["models"]["micro"]["scratch"]["pretraining"]["rules"] = mixture
    with pytest.raises(HealscopeError, match="pretraining.rules: at least one share"):
        config.load(data)


def test_a_task_the_model_has_no_words_for_is_named(data):
    data["tasks"]["other"] = {**data["tasks"]["gp3"], "targets": [97]}
    with pytest.raises(HealscopeError, match=r"model 'micro' has no word for 97"):
        config.load(data)


def test_neighbours_are_asked_of_the_card_game_alone(data):
    data["tasks"]["parity"] = {"family": str(ROOT / "tests/parity.py"), "rendering": "compact"}
    both = config.load(broken(data, ["train_on"], ["parity", "gp3"]))
    assert both.poses("gp3", "near")
    assert not both.poses("parity", "near")
    config.load(broken(data, ["train_on"], "parity"))  # of which the protocol asks nothing


def test_json_answers_to_neighbours_are_not_counted_in_words(data):
    """How many tokens they have is known only with the tokenizer."""
    data = broken(data, ["evaluation", "max_new_tokens"], 20)
    config.load(broken(data, ["tasks", "gp3", "rendering"], "json"))


def test_missing_section_is_named(data):
    del data["rl"]
    with pytest.raises(HealscopeError, match="rl: Field required"):
        config.load(data)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The example of given checkpoints, in a folder that holds them."""
    shipped = yaml.safe_load((ROOT / "config/own-checkpoints.example.yaml").read_text())
    model = shipped["models"]["mine"]
    for source in (model["source"], *model["sft"].values(), *model["rl"].values()):
        place = tmp_path / source
        place.mkdir(parents=True)
        (place / "config.json").write_text('{"num_hidden_layers": 28}')
        (place / "model.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    return shipped


def test_given_checkpoints_say_each_thing_once(own):
    study = config.load(own)
    assert study.own_checkpoints
    assert (study.seeds, study.sft.checkpoints, study.end_step) == ([0], [0, 140, 400, 1100], 1100)
    assert study.branches == study.main_branches == ["rl-from-1100"]
    assert study.rl_landmark == "rl-from-1100"
    assert list(study.edits.stages) == ["sft", "rl"]
    own["landmarks"] = {"end": 400}  # RL did not start there
    assert config.load(own).rl_landmark is None
    own["models"]["mine"]["rl"] = {}
    study = config.load(own)
    assert (study.branches, list(study.edits.stages)) == ([], ["sft"])


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["models", "mine", "sft", 400], "checkpoints/sft-401", "sft.400 .*holds base, ppo-from"),
        (["models", "mine", "sft", 400], "checkpoints/sft-140", "sft.140 and sft.400 are the same"),
        (["models", "mine", "sft", 0], "checkpoints/base", "mine.sft: step 0 is the base"),
        (["models", "mine", "sft", "late"], "a/b", "^  models.mine.sft: 'late' is no step"),
        (["models", "mine", "sft", "checkpoint-7"], "a/b", "sft: 'checkpoint-7' is no step; write"),
        (["models", "mine", "sft", 20.0], "a/b", "models.mine.sft: '20.0' is no step"),
        (["models", "mine", "sft", "1e1"], "a/b", "models.mine.sft: '1e1' is no step"),
        (["models", "mine", "sft", True], "a/b", "models.mine.sft: 'True' is no step"),
        (["models", "mine", "sft"], ["a/b"], "models.mine.sft: give each checkpoint with its step"),
        (["models", "mine", "rl"], "a/b", "models.mine.rl: give each checkpoint with its step"),
        (["models", "mine", "sft"], {}, "give at least one checkpoint"),
        (["models", "mine", "rl", 7], "org/name", r"rl\.7: RL cannot have started from step 7"),
        (["models", "two"], {"source": "a/b", "sft": {1: "a/c"}, "rl": {1: "a/d"}}, "same steps"),
        (["models", "two"], {"source": "a/b"}, "either trains or takes"),
        (["rl"], {"branches": {"ppo": "all"}}, "nothing is trained; leave the section out"),
        (["seeds"], [0, 1], "one run, seed 0"),
        (["landmarks"], {"rl": "rl-from-140"}, "no branch 'rl-from-140'"),
        (["edits", "axes"], {"layers": [29]}, "model 'mine' has 28 layers"),
    ],
)
def test_wrong_checkpoints_are_named(own, path, value, expected):
    with pytest.raises(HealscopeError) as error:
        config.load(broken(own, path, value))
    assert re.search(expected, str(error.value), re.MULTILINE)
    assert len(str(error.value).splitlines()) == 2


def test_a_control_that_one_layer_has_no_place_for_is_left_out(own):
    own["edits"]["axes"].pop("layers")
    assert not config.load(own).notes
    Path("checkpoints/base/config.json").write_text('{"num_hidden_layers": 1}')
    study = config.load(own)
    assert study.edits.controls["directions"] == ["interpolation", "noise", "rotation"]
    assert not any("shuffle" in name for name in study.edits.names())
    assert study.notes == ["edits.controls: shuffle left out, since model 'mine' has 1 layer"]


def test_a_step_may_be_padded_in_quotes(own):
    own["models"]["mine"]["sft"] = {"0140": own["models"]["mine"]["sft"][140]}
    own["models"]["mine"]["rl"] = {}
    assert config.load(own).sft.checkpoints == [0, 140]


@pytest.mark.parametrize("name", ["my-model", "Qwen2.5-7B", "2024", "yes"])
def test_models_and_tasks_are_called_what_people_call_them(data, name):
    data["models"] = {name: data["models"]["micro"]}
    data["tasks"] = {name: data["tasks"]["gp3"]}
    study = config.load({**data, "train_on": name, "study": name})
    assert list(study.tracks) == [name]
    evaluation = artifacts.path(
        artifacts.EVALUATION, protocol="paper", track=name, seed=0, checkpoint="sft-4", task=name
    )
    assert artifacts.parse(artifacts.EVALUATION, evaluation)["track"] == name


@pytest.mark.parametrize(
    ("path", "old", "name", "expected"),
    [
        ("models", "micro", True, "YAML reads this as yes or no; put it in quotes, got True"),
        ("models", "micro", 7, "models.7: YAML reads this as a number; put it in quotes"),
        (
            "models",
            "micro",
            "my model",
            "models.my model: a name has letters, digits, '.', '_' and",
        ),
        ("models", "micro", "a/b", "models.a/b: a name has letters"),
        ("models", "micro", ".hidden", "models..hidden: a name has letters"),
        ("models", "micro", "cache", "models: 'cache' is the name of a folder beside"),
        ("models", "micro", "engine", "models: 'engine' is the name of a folder beside"),
        ("tasks", "near", "GP3", "tasks: 'GP3' and 'gp3' are one folder on some file systems"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_words(data, path, old, name, expected):
    if path == "models":
        data["models"][name] = data["models"].pop(old)
    else:
        data["tasks"][name] = data["tasks"]["gp3"]
    with pytest.raises(HealscopeError) as error:
        config.load(data)
    assert expected in str(error.value)
    assert "^[" not in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_a_model_is_not_linked_onto_itself(own, tmp_path):
    place = tmp_path / "results/checkpoints/mine/seed-0/sft-140"
    place.parent.mkdir(parents=True)
    (tmp_path / "checkpoints/sft-140").rename(place)
    with pytest.raises(HealscopeError, match="call the model something else"):
        config.load(broken(own, ["models", "mine", "sft", 140], str(place)))


def test_recipes_inherit_and_override(data):
    """Built-in values, then defaults, then `like`, then a recipe's own keys."""
    data["rl"]["defaults"]["optimizer"] = {"learning_rate": 1e-5, "beta2": 0.9}
    data["rl"]["recipes"]["fast"] = {"like": "talk", "optimizer": {"learning_rate": 1e-3}}
    recipes = config.load(data).rl.recipes
    assert recipes["ppo"].optimizer.learning_rate == 1e-5
    assert recipes["grpo"].optimizer.beta2 == 0.9
    assert recipes["fast"].optimizer.learning_rate == 1e-3
    assert recipes["fast"].optimizer.beta2 == 0.9
    assert recipes["formatted"].reward == {"format": 1.0, "prefix": 0.5}  # not the verdict's too
    assert recipes["fast"].attempts == recipes["talk"].attempts == 2
    assert recipes["fast"].samples_per_prompt == recipes["ppo"].samples_per_prompt == 2
    assert recipes["fast"].iterations == recipes["dr_grpo"].iterations == 4
    assert recipes["ppo_reference"].optimizer.max_grad_norm == 0.01  # its own value wins


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ({"like": "ppo", "clip": 0.1}, "clip"),
        ({"like": "ppo", "ratio_limit": 5.0}, "ratio_limit"),
        ({"like": "ppo", "value_head": "shared", "value_clip": 0.1}, "value_clip"),
        ({"like": "ppo_multi", "epochs": 1, "clip": 0.1}, "clip"),
        ({"like": "grpo", "clip_high": 0.3}, "clip_high"),
        ({"like": "dapo", "clip_high": 0.4}, "clip_high"),
        ({"like": "rloo", "clip": 0.1}, "clip"),
    ],
)
def test_a_clip_that_would_do_nothing_is_refused(data, recipe, key):
    data["rl"]["recipes"]["tight"] = recipe
    with pytest.raises(HealscopeError, match=rf"tight: {key} would change nothing.* set epochs"):
        config.load(data)
    data["rl"]["recipes"]["tight"] = recipe | {"minibatches": 2}
    assert getattr(config.load(data).rl.recipes["tight"], key) == recipe[key]


def test_the_matched_control_has_the_steps_rows_and_rate_of_rl():
    recipes = shipped("config.yaml", "what-heals.yaml").rl.recipes
    ppo, control = recipes["ppo"], recipes["sft_matched"]
    assert ppo.steps == 1
    for key in ("iterations", "responses", "optimizer", "schedule", "freeze"):
        assert getattr(control, key) == getattr(ppo, key), key
    assert (control.iterations, control.responses) == (100, 256)


def test_settings_added_later_leave_the_values_of_older_recipes_alone():
    """What stands on disk is known by its recipe's values: only a recipe that uses a new setting
    has it among them."""
    recipes = shipped("config.yaml").rl.recipes
    values = {name: recipe.model_dump(mode="json") for name, recipe in recipes.items()}
    assert values["ppo_reference"]["counted"] == "turns"
    assert not {"counted"} & set(values["ppo"])
    assert not {"minibatches", "most_draws", "overlong"} & set(values["grpo"])
    assert {"minibatches", "most_draws", "overlong"} < set(values["dapo_multi"])
    for name, recipe in recipes.items():
        assert TypeAdapter(config.Recipe).validate_python(values[name]) == recipe


def test_methods_of_sft_inherit_and_override(data):
    """Every built-in method is there; a new one is like another, in all but its own keys."""
    data["sft"]["methods"] = {
        "rpsft": {"share": 0.5},
        "strong": {"like": "rpsft", "strength": 30.0},
        "whole": {"like": "strong", "share": 1.0},
    }
    data["sft"]["arms"] = ["whole", "kl", "diverse"]
    methods = config.load(data).sft.methods
    assert set(config.METHODS) < set(methods)
    assert methods["strong"].model_dump() == methods["rpsft"].model_dump() | {"strength": 30.0}
    assert (methods["whole"].strength, methods["whole"].share) == (30.0, 1.0)
    assert {type(m) for m in methods.values()} == set(get_args(get_args(config.SFTMethod)[0]))


def test_every_algorithm_can_be_asked_for_by_name(data):
    data["rl"] = {"branches": {"ppo": [8]}}
    recipes = config.load(data).rl.recipes
    assert set(recipes) == set(config.BUILT_IN)
    assert {r.algorithm for r in recipes.values()} == set(config.ALGORITHMS)
    assert all(callable(pkgutil.resolve_name(r.trainer)) for r in recipes.values())


def test_all_starts(data):
    study = config.load(data)
    assert [b for b in study.main_branches] == [f"ppo-from-{s}" for s in (0, 4, 8, 12)]
    assert study.rl_landmark == "ppo-from-8"


def test_schema_file_is_generated_from_the_models():
    stored = json.loads((ROOT / "workflow/schemas/study.schema.json").read_text())
    assert stored == config.schema(), "run `make schema`"


def test_default_config_has_every_key_with_its_description():
    text = (ROOT / "config/config.yaml").read_text()
    assert complete(text) == text, "run `make schema`"
    without = re.sub(r"\n  head_and_tail:.*|\n      beta:.*|# AdamW.*", "", text)
    lacking = text.replace("share of the rank that the head", "the head")
    for broken in (without, lacking, text.replace("spectra:", "spectra:\n  old: 1  # gone")):
        assert complete(broken) != broken
        assert yaml.safe_load(complete(broken)) == yaml.safe_load(text)


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


def test_conversations_of_a_model_from_scratch_are_compact(data):
    data = broken(data, ["tasks", "gp3", "rendering"], "json")
    config.load(data)
    pretraining = ["models", "micro", "scratch", "pretraining", "conversations"]
    with pytest.raises(HealscopeError, match="of rendering 'compact' alone; set 0"):
        config.load(broken(data, pretraining, 0.1))


def test_the_first_layers_may_be_all_of_a_smaller_model(data):
    data["models"]["deep"] = copy.deepcopy(data["models"]["micro"])
    data["models"]["deep"]["scratch"]["architecture"]["layers"] = 4
    config.load(broken(data, ["edits", "axes", "layers"], [1, 4]))
    for axis, amount in (("layers", 5), ("layer", 3)):
        with pytest.raises(HealscopeError, match=f"edits.axes.{axis}: {amount}"):
            config.load(broken(data, ["edits", "axes", axis], [amount]))


@pytest.mark.parametrize(
    ("recipe", "starts", "said"),
    [
        ({"of": "grpo-from-8"}, [8], "no branch 'grpo-from-8'"),
        ({"of": "ppo-from-8"}, [4], "starts from step 8, so rl.branches.part has to be"),
        ({"of": "part-from-8"}, [8], "has a mask itself"),
    ],
)
def test_a_mask_needs_a_branch_from_its_own_start(recipe, starts, said):
    data = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    data["rl"]["recipes"]["part"] = {"like": "ppo", "mask": recipe}
    data["rl"]["branches"] = {"ppo": "all", "part": starts}
    data["claims"] = {}
    with pytest.raises(HealscopeError, match=said):
        config.load(data)


PARITY = {"family": str(ROOT / "tests/parity.py"), "rendering": "compact"}
"""A task that has none of what only some tasks have."""


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"like": "ppo", "problems": "unsolvable"}, "problems: needs training problems without a"),
        ({"like": "rft", "problems": "unsolvable"}, "problems: needs training problems without a"),
        ({"like": "grpo", "reward": {"value_only": 1}}, "reward.value_only: needs verdicts"),
        ({"like": "ppo", "reward": {"binary": 1, "brier": 1}}, "reward.brier: needs answers that"),
        ({"like": "ppo", "prefixes": "expert"}, "prefixes: needs answers in steps"),
        ({"like": "sft_more", "prefixes": True}, "prefixes: needs answers in steps"),
        ({"like": "sft_more", "examples": "less"}, "examples: needs training problems with a part"),
        ({"like": "told_sft"}, "algorithm: needs training problems under its OOD rule"),
        (
            {"like": "ppo", "samples_per_prompt": 4, "credit": {"tokens": "plan"}},
            "credit.tokens: needs answers that are chosen word by word",
        ),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_recipe_that_a_task_cannot_have_is_refused(data, recipe, said, beside):
    """Of branches of all tracks, and of those of one that is not followed."""
    data["tasks"]["parity"] = PARITY
    data["rl"]["recipes"]["mine"] = recipe
    config.load(data)  # nothing is asked of it
    if beside:
        data["rl"]["branches_of"] = {"micro.parity": {"mine": [8]}}
    else:
        data["train_on"], data["rl"]["branches"]["mine"] = "parity", [8]
    with pytest.raises(HealscopeError) as error:
        config.load(data)
    where = "rl.branches_of.micro.parity" if beside else "rl.branches"
    assert f"rl.recipes.mine.{said}" in str(error.value)
    assert "task 'parity' has none" in str(error.value)
    assert f"leave the recipe out of {where}" in str(error.value)


def test_a_recipe_is_fine_where_the_task_has_what_it_needs(data):
    recipes = {
        "one": {"like": "ppo", "problems": "unsolvable", "reward": {"value_only": 1, "brier": 1}},
        "two": {"like": "sft_more", "examples": "less"},
        "three": {"like": "rlag"},
        "four": {"like": "ppo", "prefixes": "expert"},
    }
    data["tasks"]["gp3"] |= {"confidence": True, "rule_shown": "name", "grade_number_line": False}
    data["rl"]["recipes"] |= recipes
    data["rl"]["branches"] |= dict.fromkeys(recipes, [8])
    assert len(config.load(data).branches) >= 4
    stated = broken(data, ["tasks", "gp3", "rule_shown"], "values")
    with pytest.raises(HealscopeError, match="told: needs texts that tell its rules"):
        config.load(stated)


def test_an_arm_that_a_task_cannot_have_is_refused(data):
    for arm in ("world_model", "more_expert"):
        with pytest.raises(HealscopeError, match=f"sft.arms: '{arm}' needs actions that could be"):
            config.load(broken(data, ["sft", "arms"], [arm]))
    config.load(broken(data, ["sft", "methods"], {"mine": {"like": "world_model"}}))


def test_branches_beside_are_checked_as_all_others_are(data):
    """A mask, how a model is launched, and starts that stand twice."""
    data["models"]["other"] = copy.deepcopy(data["models"]["micro"]) | {"followed": False}
    masked = {"like": "ppo", "mask": {"of": "ppo-from-8"}}

    def beside(**recipes):
        found = copy.deepcopy(data)
        found["rl"]["recipes"]["part"] = masked
        found["rl"]["branches_of"] = {"other": recipes}
        return found

    config.load(beside(ppo=[8], part=[8]))
    for recipes, said in (
        ({"part": [8]}, r"no branch 'ppo-from-8'; there are part-from-8 \(rl.branches_of.other\)"),
        ({"ppo": [8], "part": [4]}, r"so rl.branches_of.other.part has to be \[8\]"),
        ({"ppo": [8, 8]}, "rl.branches_of.other.ppo: .* holds the same value twice"),
    ):
        with pytest.raises(HealscopeError, match=said):
            config.load(beside(**recipes))
    several = beside(grpo=[8])
    several["rl"]["recipes"]["grpo"] = {"responses": 12, "samples_per_prompt": 4}
    several["rl"]["branches"].pop("grpo")
    config.load(several)
    several["models"]["other"]["launch"] = {"processes": 2, "deepspeed": "zero2"}
    with pytest.raises(HealscopeError, match="models.other.launch: rl.recipes.grpo: 3 prompts"):
        config.load(several)


def test_edits_of_the_first_layers_may_be_of_all_of_a_smaller_model(data):
    data["models"]["deep"] = copy.deepcopy(data["models"]["micro"])
    data["models"]["deep"]["scratch"]["architecture"]["layers"] = 4
    config.load(broken(data, ["edits", "also"], {"swap-layers-4": []}))
    with pytest.raises(HealscopeError, match="'swap-layers-5' needs 5 layers"):
        config.load(broken(data, ["edits", "also"], {"swap-layers-5": []}))
    data["models"]["deep"]["scratch"]["architecture"]["layers"] = 1
    with pytest.raises(HealscopeError, match="control 'shuffle' of 'swap-roles-q' needs 2 layers"):
        config.load(
            broken(data, ["edits"], {"also": {"swap-roles-q": ["shuffle"]}, "axes": {"rank": [1]}})
        )


def test_a_file_over_another_takes_a_recipe_out(data):
    names = set(data["rl"]["branches"])
    more = merged(data, {"rl": {"branches": {"sft_more": [4]}}})
    assert set(config.load(more).rl.branches) == {*names, "sft_more"}
    less = merged(more, {"rl": {"branches": {"sft_more": None}}})
    assert set(config.load(less).rl.branches) == names - {"sft_more"}
