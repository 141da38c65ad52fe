"""Hands shown as pictures: what prompts say, and that the model sees pixels and nothing else."""

import copy
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
import sft_runs
import torch
import yaml
from PIL import Image
from runner import ROOT
from transformers import AutoModelForImageTextToText

from healscope import config
from healscope.config import Architecture
from healscope.config.models import Vision
from healscope.engines.generate import generate, hidden_states, response_logprobs
from healscope.errors import HealscopeError
from healscope.evaluation.losses import response_loss
from healscope.models import checkpoints, pictures, tokens
from healscope.sections import merged
from healscope.spectra.matrices import matrices
from healscope.tasks.cards import pictures as deck
from healscope.tasks.cards.game import RANKS, make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.problem import Verdict
from healscope.tasks.rewards import Scored
from healscope.tasks.section import section_of
from healscope.training import base, groups, ppo, rounds

GAME = GeneralPoints(
    name="shown", cards=3, targets=(12, 24), rendering="compact", hand_shown="pictures", orders=1
)
NAMED = replace(GAME, hand_shown="words")
SMALL = Architecture(hidden_size=32, layers=2, heads=2, ffn_size=64)
HANDS = (("A", "3", "8"), ("3", "A", "8"), ("J", "Q", "K"), ("10", "10", "4"))
TOWER = ["vision_model", "connector"]
TRAINERS = {"ppo": ppo.train, "grpo": groups.train, "dpo": rounds.train, "rft": rounds.train}


def prompts(tokenizer) -> list[list[int]]:
    """Ids of prompts about HANDS."""
    asked = [GAME.prompt(make_problem(GAME, hand, "id", 24)) for hand in HANDS]
    return [tokens.prompt_ids(tokenizer, text) for text in asked]


def logits(model, ids: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor(ids)).logits


@pytest.fixture(scope="module")
def tokenizer():
    return base.task_tokenizer(GAME)


@pytest.fixture
def model(tokenizer):
    return base.scratch_model(SMALL, tokenizer, seed=0, shown=GAME.pictures()).eval()


@pytest.fixture(scope="module")
def manifest(tokenizer, tmp_path_factory):
    """A model as a study publishes it, not trained."""
    folder = tmp_path_factory.mktemp("seeing")
    model = base.scratch_model(SMALL, tokenizer, seed=0, shown=GAME.pictures())
    checkpoints.save_weights(folder / "staged", model, tokenizer)
    checkpoints.publish(folder / "staged", folder / "base" / "checkpoint.json", {})
    return folder / "base" / "checkpoint.json"


def test_every_card_of_a_deck_has_a_picture_of_its_own_the_same_each_time():
    drawn, again = deck.draw(), deck.draw()
    assert [*drawn] == [*again] == [f"[{r}{s}]" for r in RANKS for s in deck.SUITS]
    assert len({picture.tobytes() for picture in drawn.values()}) == 52
    for word, picture in drawn.items():
        assert picture.shape == (deck.SIZE, deck.SIZE, 3)
        assert (picture == again[word]).all()


def test_the_page_shows_the_pictures_that_models_see():
    drawn = [*deck.draw().values()]
    shown = np.vstack([np.hstack(drawn[suit :: len(deck.SUITS)]) for suit in range(4)])
    assert (np.array(Image.open(ROOT / "docs/vision/cards.png")) == shown).all()


def test_a_hand_looks_the_same_each_time_and_has_no_card_twice():
    found = set()
    for cards in combinations_with_replacement(RANKS, 4):
        words = deck.words(cards)
        assert words == deck.words(cards)
        assert len(set(words)) == 4
        assert tuple(word[1:-2] for word in words) == cards
        found |= set(words)
    assert found == set(deck.WORDS)


def test_prompts_show_cards_and_name_none():
    problem = make_problem(GAME, ("Q", "2", "A"), "ood", 24)
    words = deck.words(problem.cards)
    assert GAME.prompt(problem) == f"J 11 Q 12 K 13 24 {' '.join(words)} fD"
    assert NAMED.prompt(problem) == "J 11 Q 12 K 13 24 Q 2 A fD"
    assert GAME.answers(problem)[0] == NAMED.answers(problem)[0]  # which name them
    assert GAME.words() == [*NAMED.words(), *deck.WORDS]
    for text in (*GAME.neutral_prompts(20, 0), *GAME.rl_table()["prompt"][:20]):
        assert len(set(text.split()) & set(deck.WORDS)) == 3


def test_tasks_that_name_cards_are_dumped_as_before():
    section = section_of(GeneralPoints)
    assert "hand_shown" not in section(targets=[24]).model_dump()
    shown = section(targets=[24], rendering="compact", hand_shown="pictures").model_dump()
    assert shown["hand_shown"] == "pictures"
    assert "vision" not in Architecture().model_dump()
    assert Architecture(vision=Vision(layers=3)).model_dump()["vision"]["layers"] == 3


@pytest.mark.parametrize("other", [{"rendering": "json"}, {"rule_shown": "name"}])
def test_pictures_are_shown_in_compact_prompts_that_say_their_rule(other):
    with pytest.raises(ValueError, match="hand_shown: pictures needs rendering compact"):
        replace(GAME, **other)


def test_a_task_without_pictures_has_a_plain_llama(tokenizer):
    model = base.scratch_model(SMALL, tokenizer, seed=0, shown=NAMED.pictures())
    assert model.config.model_type == "llama"


def test_two_pictures_exchanged_are_two_cards_exchanged(model, tokenizer):
    ids = prompts(tokenizer)
    shown = [i for i in ids[0] if i >= model.config.image_token_id]
    first, second = (i - model.config.image_token_id for i in shown[:2])
    exchanged = [*ids[0]]
    places = [exchanged.index(i) for i in shown[:2]]
    exchanged[places[0]], exchanged[places[1]] = shown[1], shown[0]
    before, other = logits(model, [ids[0]]), logits(model, [exchanged])
    seen = model.model.pictures
    seen[[first, second]] = seen[[second, first]]
    assert not torch.allclose(logits(model, [ids[0]]), before, atol=1e-4)
    assert torch.allclose(logits(model, [ids[0]]), other, atol=1e-5)


def test_blank_pictures_make_all_hands_one(model, tokenizer):
    ids = prompts(tokenizer)
    lasts = logits(model, ids)[:, -1]
    assert (torch.pdist(lasts) > 1e-3).all()
    model.model.pictures.fill_(1.0)
    lasts = logits(model, ids)[:, -1]
    assert (torch.pdist(lasts) < 1e-4).all()


def test_embeddings_of_the_words_are_not_looked_at(model, tokenizer):
    ids = prompts(tokenizer)
    before = logits(model, ids)
    with torch.no_grad():
        model.get_input_embeddings().weight[model.config.image_token_id :] = 9.0
    assert torch.equal(logits(model, ids), before)


def test_what_is_loaded_sees_the_same(manifest, tokenizer):
    staged, ids = manifest.parent.parent / "staged", prompts(tokenizer)
    model, loaded = checkpoints.load_model(manifest)
    made = base.scratch_model(SMALL, tokenizer, seed=0, shown=GAME.pictures()).eval()
    assert torch.equal(logits(model.eval(), ids), logits(made, ids))
    assert loaded.get_vocab() == tokenizer.get_vocab()
    drawn = np.concatenate([*GAME.pictures().values()])
    assert (np.array(Image.open(manifest.parent / pictures.FILE)) == drawn).all()
    assert "pictures" not in "".join(checkpoints.load_weights(manifest))
    assert (staged / pictures.FILE).is_file()


def test_other_pictures_are_another_model(manifest, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in manifest.parent.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    strip = np.array(Image.open(other / pictures.FILE))
    Image.fromarray(np.roll(strip, deck.SIZE, 0)).save(other / pictures.FILE)
    with pytest.raises(HealscopeError, match=r"picture_tokens\.png differs from what was saved"):
        checkpoints.load_model(other / "checkpoint.json")
    checkpoints.publish(other, tmp_path / "again" / "checkpoint.json", {})
    with pytest.raises(HealscopeError, match="is not the one that was saved"):
        checkpoints.load_model(tmp_path / "again" / "checkpoint.json")


def test_transformers_alone_computes_the_same_from_pixels(manifest, tokenizer):
    """The folder is an ordinary SmolVLM: with pixels in place of our ids it says the same."""
    ids = torch.tensor(prompts(tokenizer))
    plain = AutoModelForImageTextToText.from_pretrained(manifest.parent).eval()
    first = plain.config.image_token_id
    shown = ids >= first
    drawn = torch.from_numpy(np.stack([*GAME.pictures().values()])).float()
    pixels = (drawn.permute(0, 3, 1, 2) / 127.5 - 1)[ids[shown] - first]
    with torch.no_grad():
        found = plain(
            input_ids=ids.masked_fill(shown, first),
            pixel_values=pixels.view(len(ids), 3, *pixels.shape[1:]),
        ).logits
    model, _ = checkpoints.load_model(manifest)
    assert torch.allclose(logits(model.eval(), ids.tolist()), found, atol=1e-5)


def test_every_way_to_read_sees(model, tokenizer):
    ids = prompts(tokenizer)
    asked = {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id, "max_new_tokens": 4}
    written = generate(model, ids, **asked)
    responses = written.ids()
    ids_BL, mask_BL, width, real_BT = tokens.encode_ids(ids, responses, asked["pad"])
    with torch.no_grad():
        logprobs_BT, _ = response_logprobs(model, ids_BL, mask_BL, width)
        whole = model(input_ids=ids_BL, attention_mask=mask_BL, output_hidden_states=True)
        states_BLH = hidden_states(model, ids_BL, mask_BL)
    assert torch.allclose(logprobs_BT[real_BT], written.logprobs_BT[real_BT], atol=1e-4)
    assert torch.allclose(whole.hidden_states[-1][mask_BL], states_BLH[mask_BL], atol=1e-5)


def test_a_copy_has_a_tower_of_its_own(model, tokenizer):
    ids = prompts(tokenizer)
    other, before = copy.deepcopy(model), logits(model, ids)
    with torch.no_grad():
        for parameter in model.model.vision_model.parameters():
            parameter.zero_()
        model.model.connector.modality_projection.proj.weight.zero_()
    assert torch.equal(logits(other, ids), before)
    assert not torch.allclose(logits(model, ids), before, atol=1e-4)


def test_gradients_reach_the_pixels_through_all_of_the_tower(model, tokenizer):
    problems = [make_problem(GAME, hand, "id", 24) for hand in HANDS[:1]]
    pairs = [(GAME.prompt(p), GAME.answers(p)[0]) for p in problems]
    model.model.pictures.requires_grad_()
    response_loss(model, *tokens.encode_pairs(tokenizer, pairs)).backward()
    for name, parameter in model.named_parameters():
        if any(part in name for part in TOWER) and not name.endswith("k_proj.bias"):  # no effect
            assert parameter.grad.abs().sum() > 0, name
    seen = model.model.pictures.grad.abs().sum((1, 2, 3)) > 0
    assert {deck.WORDS[i] for i in seen.nonzero()[:, 0].tolist()} == set(deck.words(HANDS[0]))


@pytest.fixture(scope="module")
def tables():
    return GAME.problem_table(), GAME.sft_table(), GAME.rl_table()


@pytest.fixture(scope="module")
def task():
    return GAME


@pytest.fixture(scope="module")
def base_manifest(manifest):
    return str(manifest)


@pytest.mark.parametrize("kept", [TOWER, []])
def test_sft_trains_the_tower_unless_it_is_frozen(study, manifest, tables, tmp_path, kept):
    settings = study.sft.model_copy(update={"freeze": [*study.sft.freeze, *kept]})
    rows, weights = sft_runs.run(settings, str(manifest), tables, GAME, tmp_path / "sft")
    start, end = checkpoints.load_weights(manifest), weights[settings.steps]
    changed = {name for name in end if not torch.equal(end[name], start[name])}
    assert any("text_model.layers" in name for name in changed)
    assert any("vision_model" in name for name in changed) == (not kept)
    assert rows["id_train_loss_nats"].iloc[-1] < rows["id_train_loss_nats"].iloc[0]


def some(problem, text):
    """Call about half of all responses correct, and pay each differently."""
    good = len(text) % 2 == 0
    outcome = "correct" if good else "no_answer"
    return Scored(Verdict(outcome, 1.0, good, good, good, good), good + 0.01 * len(text))


@pytest.mark.parametrize("kept", [TOWER, []])
@pytest.mark.parametrize("name", ["ppo", "grpo", "dpo", "rft"])
def test_rl_trains_the_tower_unless_it_is_frozen(study, manifest, branch_at, name, kept):
    few = {"iterations": 2, "responses": 16, "samples_per_prompt": 4, "kl_every": None}
    few |= {"rounds": 2, "batch_size": 4} if name in ("dpo", "rft") else {}
    recipe = study.rl.recipes[name]
    recipe = recipe.model_copy(update={**few, "freeze": [*recipe.freeze, *kept]})
    branch = branch_at(score=some)
    TRAINERS[name](recipe, branch)
    start = checkpoints.load_weights(manifest)
    end = checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)
    changed = {name for name in end if not torch.equal(end[name], start[name])}
    assert any("text_model.layers" in name for name in changed)
    assert any("vision_model" in name for name in changed) == (not kept)


def test_spectra_are_those_of_the_language_model(model):
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = matrices(shapes, ["q", "down", "embeddings", "head"], model.config.to_dict())
    assert [m.name.partition(".weight")[0] for m in found] == [
        "model.text_model.embed_tokens", "lm_head",
        "model.text_model.layers.0.self_attn.q_proj", "model.text_model.layers.0.mlp.down_proj",
        "model.text_model.layers.1.self_attn.q_proj", "model.text_model.layers.1.mlp.down_proj",
    ]  # fmt: skip


def test_words_that_are_no_row_of_ids_and_patches_that_do_not_fit_are_refused(tokenizer):
    shown = GAME.pictures()
    with pytest.raises(HealscopeError, match="the last words of a task, in order"):
        base.scratch_model(SMALL, tokenizer, 0, shown=dict(reversed(shown.items())))
    uneven = SMALL.model_copy(update={"vision": Vision(patch_size=5)})
    with pytest.raises(HealscopeError, match=r"vision\.patch_size: 5 does not divide the 32"):
        base.scratch_model(uneven, tokenizer, 0, shown=shown)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluation": {"engine": "vllm"}}, "engine vllm shows a model no pictures"),
        ({"rl": {"engine": "vllm"}}, "engine vllm shows a model no pictures"),
        ({"models": {"other": {"source": "a/b"}}}, "model 'other' would not see its pictures"),
    ],
)
def test_what_sees_no_pictures_is_refused_before_the_first_job(change, said):
    files = [yaml.safe_load((ROOT / f"config/{n}.yaml").read_text()) for n in ("config", "vision")]
    both = merged(*files)
    assert config.load(both).tasks["gp3"].hand_shown == "pictures"
    with pytest.raises(HealscopeError, match=said):
        config.load(merged(both, change))
