"""The micro study with hands shown as pictures: pretraining, SFT, RL, evaluation and edits."""

import pandas as pd
import pytest
import torch
from runner import Workflow

from healscope import artifacts
from healscope.models import checkpoints, pictures
from healscope.tasks.cards import pictures as deck

TOWER = ("vision_model", "connector")
RECIPES = ("ppo", "ppo_reference", "talk", "grpo", "dpo", "rft")


@pytest.fixture(scope="module")
def seeing(forks, tmp_path_factory) -> Workflow:
    """The finished study; the tower is frozen after pretraining, but for recipe `grpo`."""
    workflow = Workflow(tmp_path_factory.mktemp("vision"), forks)
    study = workflow.config
    study["tasks"]["gp3"]["hand_shown"] = "pictures"
    frozen = ["embed_tokens", "lm_head", "norm", *TOWER]
    study["sft"] |= {"freeze": frozen, "arms": ["kl", "lora"]}
    study["rl"]["defaults"]["freeze"] = frozen
    study["rl"]["recipes"]["grpo"] = {"freeze": frozen[:3]}
    study["rl"]["branches"] = dict.fromkeys(RECIPES, [8])
    workflow.run()
    return workflow


def manifest(workflow: Workflow, checkpoint: str):
    place = {"track": "micro", "seed": 0, "checkpoint": checkpoint}
    return workflow.folder / artifacts.path(artifacts.CHECKPOINT, **place)


@pytest.mark.long
def test_every_stage_is_made_and_nothing_is_left_to_do(seeing):
    assert seeing.plan() == {}
    for figure in ("fig1", "fig3a", "fig6", "fig7", "fig_errors", "fig_signals"):
        assert (seeing.folder / f"results/figures/{figure}.pdf").is_file()


@pytest.mark.long
def test_problems_show_pictures_and_answers_are_judged_by_the_cards_shown(seeing):
    problems = pd.read_parquet(
        seeing.folder / artifacts.path(artifacts.PROBLEMS, task="gp3"),
        columns=["prompt", "cards"],
    )
    for prompt, cards in zip(problems["prompt"], problems["cards"], strict=True):
        shown = [word for word in prompt.split() if word in deck.WORDS]
        assert [word[1:-2] for word in shown] == [*cards]


@pytest.mark.long
@pytest.mark.parametrize(
    "checkpoint",
    ["sft-12", "lora-12", "kl-12", *(f"{recipe}-from-8" for recipe in RECIPES)],
)
def test_what_is_trained_after_pretraining_is_what_freeze_leaves(seeing, checkpoint):
    base, after = (
        checkpoints.load_weights(manifest(seeing, name)) for name in ("base", checkpoint)
    )
    changed = {name for name in base if not torch.equal(base[name], after[name])}
    assert any("text_model.layers" in name for name in changed)
    assert any(any(part in n for part in TOWER) for n in changed) == (checkpoint == "grpo-from-8")
    assert (manifest(seeing, checkpoint).parent / pictures.FILE).is_file()


@pytest.mark.long
def test_pretraining_trains_the_tower(seeing):
    model, tokenizer = checkpoints.load_model(manifest(seeing, "base"))
    first, shown = model.config.image_token_id, len(deck.WORDS)
    assert tokenizer.convert_ids_to_tokens([*range(first, first + shown)]) == [*deck.WORDS]
    # biases begin at 0
    assert model.get_parameter("model.vision_model.encoder.layers.0.mlp.fc1.bias").abs().max() > 0
