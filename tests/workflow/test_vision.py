"""The micro study with hands shown as pictures: pretraining, SFT, RL, evaluation and edits."""

import pandas as pd
import pytest
import torch
from runner import Workflow

from healscope import artifacts
from healscope.models import checkpoints
from healscope.tasks.cards import pictures as deck

TOWER = ("vision_model", "connector")
RECIPES = ("ppo", "ppo_reference", "talk", "grpo", "dpo", "rft")
"""In this study only `ppo_reference` and `talk` see rewards that differ; all are carried out."""


@pytest.fixture(scope="module")
def seeing(forks, tmp_path_factory) -> Workflow:
    """The finished study; the tower is frozen after pretraining, but for recipe `talk`."""
    workflow = Workflow(tmp_path_factory.mktemp("vision"), forks)
    study = workflow.config
    study["tasks"]["gp3"]["hand_shown"] = "pictures"
    frozen = ["embed_tokens", "lm_head", "norm", *TOWER]
    study["sft"] |= {"freeze": frozen, "arms": ["kl", "lora"]}
    study["rl"]["defaults"]["freeze"] = frozen
    study["rl"]["recipes"]["talk"]["freeze"] = frozen[:3]
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
    ("start", "end", "tower"),
    [
        ("base", "sft-12", False),
        ("base", "lora-12", False),
        ("base", "kl-12", False),
        ("sft-8", "ppo_reference-from-8", False),
        ("sft-8", "talk-from-8", True),
    ],
)
def test_what_is_trained_after_pretraining_is_what_freeze_leaves(seeing, start, end, tower):
    before, after = (checkpoints.load_weights(manifest(seeing, name)) for name in (start, end))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("text_model.layers" in name for name in changed)
    assert any(any(part in name for part in TOWER) for name in changed) == tower


@pytest.mark.long
@pytest.mark.parametrize("checkpoint", ["base", "sft-12", *(f"{r}-from-8" for r in RECIPES)])
def test_every_checkpoint_has_the_pictures(seeing, checkpoint):
    model, _ = checkpoints.load_model(manifest(seeing, checkpoint))
    assert len(model.model.pictures) == len(deck.WORDS)


@pytest.mark.long
def test_pretraining_trains_the_tower(seeing):
    model, tokenizer = checkpoints.load_model(manifest(seeing, "base"))
    first, shown = model.config.image_token_id, len(deck.WORDS)
    assert tokenizer.convert_ids_to_tokens([*range(first, first + shown)]) == [*deck.WORDS]
    # biases begin at 0
    assert model.get_parameter("model.vision_model.encoder.layers.0.mlp.fc1.bias").abs().max() > 0
