"""RLAG and its controls: the loss by hand, what a round reads, and which text is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from healscope.config import RL, Taught
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.problem import Context
from healscope.training import taught
from healscope.training.base import scratch_model
from healscope.training.state import Workspace
from healscope.training.turns import Pair

GAME = GeneralPoints(
    name="named", cards=3, targets=(6, 8, 10), rendering="compact", rule_shown="name"
)
RLAG = Taught(
    algorithm="rlag", iterations=3, responses=64, rounds=3, batch_size=16, kl_every=None,
    freeze=["embed_tokens"],
    optimizer={"learning_rate": 0.01, "warmup_steps": 0, "beta2": 0.95},
)  # fmt: skip
ALGORITHMS = "rlag", "told_sft", "told_dpo", "told_text"


def arm(algorithm, **changes):
    return RLAG.model_copy(update={"algorithm": algorithm, **changes})


def loss_of(text, chosen, rejected, agree=False):
    """Return the loss of one row, and its gradient by the three log-probabilities."""
    given = [torch.tensor([value], requires_grad=True) for value in (text, chosen, rejected)]
    loss = taught.rlag_loss(*given, torch.tensor([agree]), RLAG)
    gradient = torch.autograd.grad(loss.sum(), given)
    return loss.item(), [g.item() for g in gradient]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_loss_and_gradient_by_hand_where_answers_differ():
    margin = 0.2 * -2.0 + 0.5 * (-1.0 + 3.0) - 0.8
    loss, gradient = loss_of(-2.0, -1.0, -3.0)
    assert loss == pytest.approx(-math.log(sigmoid(margin)))
    slope = sigmoid(-margin)
    assert gradient == pytest.approx([-0.2 * slope, -0.5 * slope, 0.5 * slope])


def test_answers_that_agree_teach_the_text_alone():
    margin = 0.5 * -2.0 - 0.8
    loss, gradient = loss_of(-2.0, -1.0, -1.0, agree=True)
    assert loss == pytest.approx(-math.log(sigmoid(margin)))
    assert gradient == pytest.approx([-0.5 * sigmoid(-margin), 0.0, 0.0])


@pytest.mark.parametrize(
    ("chosen", "rejected", "moved"),
    [
        (-0.3, -4.9, (True, True)),
        (-0.1, -4.9, (False, True)),  # probable enough
        (-0.3, -5.1, (True, False)),  # improbable enough
        (-0.1, -5.1, (False, False)),
    ],
)
def test_clips_stop_what_is_far_enough(chosen, rejected, moved):
    loss, (_, *gradient) = loss_of(-2.0, chosen, rejected)
    assert tuple(g != 0 for g in gradient) == moved
    margin = -0.4 + 0.5 * (min(chosen, -0.2) - max(rejected, -5.0)) - 0.8
    assert loss == pytest.approx(-math.log(sigmoid(margin)))


@pytest.fixture(scope="module")
def base(study, tmp_path_factory):
    """Manifest of an untrained model that knows the words of the game."""
    torch.set_num_threads(1)
    folder, tokenizer = tmp_path_factory.mktemp("named"), tokens.word_tokenizer(GAME.words())
    model = scratch_model(study.models["micro"].scratch.architecture, tokenizer, seed=0)
    checkpoints.save_weights(folder / "staged", model, tokenizer)
    manifest = folder / "base" / "checkpoint.json"
    checkpoints.publish(folder / "staged", manifest, {})
    return str(manifest)


@pytest.fixture
def branch(branch_at, base, tmp_path):
    def make(folder="taught", task=GAME):
        start = branch_at(folder + "-unused", max_new_tokens=4)
        work = Workspace(tmp_path / folder, "x")
        return replace(start, name="rlag-from-0", start=base, base=base, task=task, work=work)

    return make


def answered(branch, recipe=RLAG, n=24):
    model, tokenizer = checkpoints.load_model(branch.start)
    return taught.answers(recipe, branch, model, tokenizer, branch.task.ood_table()[:n])


def test_answers_are_to_the_same_problem_with_the_text_and_without(branch):
    at = branch()
    _, tokenizer = checkpoints.load_model(at.start)
    for told, word in (("knowledge", "11"), ("false knowledge", "12")):
        for one in answered(at, arm("rlag", told=told)):
            said = tokenizer.decode(one.text.response_ids)
            assert said.split()[:3] == ["court", "J", word]
            assert one.text.prompt_ids == [tokenizer.bos_token_id]
            assert one.told.prompt_ids == [
                tokenizer.bos_token_id, *one.text.response_ids, *one.bare.prompt_ids[1:]
            ]  # fmt: skip
            assert one.chosen_bare == Pair(one.bare.prompt_ids, one.told.response_ids)


class Silent(GeneralPoints):
    """A game whose text tells nothing."""

    def told(self, problem, kind):
        return Context(kind, "", leaks=False)


def test_an_empty_text_makes_both_answers_equal(branch):
    options = {k: getattr(GAME, k) for k in ("cards", "targets", "rendering", "rule_shown")}
    both = answered(branch(task=Silent(name="named", **options)))
    assert all(one.agree and one.told == one.bare for one in both)
    assert not all(one.agree for one in answered(branch("other")))


def test_every_algorithm_reads_as_many_tokens(branch):
    rows = answered(branch())
    read = {}
    for algorithm in ALGORITHMS:
        recipe = arm(algorithm)
        batches = list(taught._batches(recipe, rows, np.random.default_rng(0)))
        read[algorithm] = sum(taught.tokens_read(recipe, batch) for batch in batches)
        assert {len(b) for b in batches[:1]} == {16}
    wanted = 2 * sum(one.read for one in rows)
    assert read["rlag"] == wanted
    for tokens_read in read.values():  # to a batch
        assert wanted <= tokens_read < wanted + max(one.read for one in rows) * 16


def test_every_algorithm_takes_as_many_steps_where_steps_are_the_budget(branch):
    rows = answered(branch())

    def batches(algorithm, budget):
        recipe = arm(algorithm, budget=budget)
        return list(taught._batches(recipe, rows, np.random.default_rng(0)))

    taken = {(a, b): len(batches(a, b)) for a in ALGORITHMS for b in ("tokens", "steps")}
    assert {taken[a, "steps"] for a in ALGORITHMS} == {taken["rlag", "tokens"]} == {4}
    assert taken["told_sft", "tokens"] > 4
    each = [one for batch in batches("told_sft", "steps") for one in batch]
    assert len(each) == 2 * len(rows)  # every answer as often


def test_losses_of_the_controls_by_hand(branch):
    at = branch()
    model, tokenizer = checkpoints.load_model(at.start)
    rows = answered(at)
    for algorithm, learned in (("told_sft", "chosen_bare"), ("told_text", "text")):
        loss, _ = taught.batch_loss(arm(algorithm), model, tokenizer, rows)
        each = [logprobs(model, getattr(one, learned)) for one in rows]
        assert loss.item() == pytest.approx(-float(torch.cat(each).mean()), abs=1e-4)
    loss, _ = taught.batch_loss(arm("told_dpo"), model, tokenizer, rows, model)
    assert loss.item() == pytest.approx(math.log(2))
    agreeing = [one._replace(bare=one.chosen_bare) for one in rows]
    loss, _ = taught.batch_loss(arm("told_dpo"), model, tokenizer, agreeing, model)
    loss.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-6 for p in model.parameters())


@torch.no_grad()
def logprobs(model, pair):
    """Return the log-probabilities of the response tokens of one row, read without padding."""
    logits = model(torch.tensor([pair.prompt_ids + pair.response_ids])).logits[0]
    first = len(pair.prompt_ids)
    each = torch.log_softmax(logits, -1)[first - 1 : -1]
    return each.gather(1, torch.tensor(pair.response_ids)[:, None])[:, 0]


def run(recipe, at):
    rows = taught.train(recipe, at)
    at.work._lock.close()  # as when the process ends
    return rows, checkpoints.load_file(at.work.staged(at.name) / checkpoints.WEIGHTS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_makes_its_own_objective_better(algorithm, branch):
    at, recipe = branch(), arm(algorithm)
    before, tokenizer = checkpoints.load_model(at.start)
    rows, weights = run(recipe, at)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    batch = answered(at)
    after = checkpoints.load_model(at.start)[0]
    after.load_state_dict(weights, strict=False)
    kinds = {
        "rlag": lambda m: -mean(m, tokenizer, [a.text for a in batch]),
        "told_text": lambda m: -mean(m, tokenizer, [a.text for a in batch]),
        "told_sft": lambda m: -mean(m, tokenizer, [a.chosen_bare for a in batch]),
        "told_dpo": lambda m: (
            mean(m, tokenizer, [a.bare for a in batch])
            - mean(m, tokenizer, [a.chosen_bare for a in batch])
        ),
    }
    assert kinds[algorithm](after) < kinds[algorithm](before) - 0.1


def mean(model, tokenizer, pairs):
    with torch.no_grad():
        sums_B, counts_B = taught._logprobs(model, tokenizer, pairs)
    return float((sums_B / counts_B).mean())


def test_recipes_are_built_in_and_need_even_responses():
    recipes = RL(branches={"rlag": [0], "ppo": [0]}).recipes
    assert {name for name, r in recipes.items() if isinstance(r, Taught)} == set(ALGORITHMS)
    assert recipes["rlag"].weights.differ == (0.2, 0.5)
    with pytest.raises(ValueError, match="responses must be even"):
        Taught(algorithm="rlag", responses=3)
