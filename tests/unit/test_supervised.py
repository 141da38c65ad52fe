"""Going on with SFT: what a step reads, what it moves, and what stays the same after a kill."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from healscope.config import Average, Optimizer, Supervised
from healscope.evaluation.losses import cross_entropy
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.game import from_row
from healscope.tasks.cards.solver import formulas
from healscope.tasks.cards.verifier import read_answer, verify
from healscope.tasks.tables import draw, sft_examples
from healscope.training import branch, jobs, supervised
from healscope.training.base import scratch_model
from healscope.training.health import Diverged
from healscope.training.state import Workspace

RECIPE = Supervised(
    algorithm="sft", iterations=8, responses=24, state_every=3, kl_every=4,
    optimizer=Optimizer(learning_rate=3e-3, warmup_steps=2, beta2=0.95),
)  # fmt: skip


def variant(**changes) -> Supervised:
    return RECIPE.model_copy(update=changes)


@pytest.fixture
def start(study, base_manifest, tables, task, tmp_path):
    """Make a branch in a folder of its own: `start("name")`."""

    def make(name: str = "work") -> branch.Branch:
        return branch.Branch(
            name="sft_more-from-0",
            start=base_manifest,
            base=base_manifest,
            prompts=tables[2],
            sft_pool=tables[1],
            sft_rows=sft_examples(tables[1], study.sft.deals, study.sft.examples, 0),
            task=task,
            max_new_tokens=20,
            seed=0,
            work=Workspace(tmp_path / name, "x"),
            label="more",
        )

    return make


@pytest.fixture(scope="module")
def other_manifest(study, task, tmp_path_factory):
    """A checkpoint that differs from the base in all its weights."""
    folder = tmp_path_factory.mktemp("other")
    tokenizer = tokens.word_tokenizer(task.words())
    model = scratch_model(study.models["micro"].scratch.architecture, tokenizer, seed=1)
    checkpoints.save_weights(folder / "staged", model, tokenizer)
    manifest = str(folder / "published" / "checkpoint.json")
    checkpoints.publish(folder / "staged", manifest, {})
    return manifest


def carried_out(recipe, on: branch.Branch):
    rows = jobs.run_recipe(recipe, on)
    on.work._lock.close()  # as when the process ends
    return rows, checkpoints.load_file(on.work.staged(on.name) / checkpoints.WEIGHTS)


def with_short_answers(on: branch.Branch) -> branch.Branch:
    """The same branch with every other answer of SFT cut short, so that there is padding."""
    cut = [a if i % 2 else " ".join(a.split()[:4]) for i, a in enumerate(on.sft_rows["response"])]
    return replace(on, sft_rows=on.sft_rows.assign(response=cut))


def without_times(rows):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


def test_two_steps_move_only_what_is_not_frozen(start, base_manifest):
    rows, weights = carried_out(variant(iterations=2), start())
    before = checkpoints.load_weights(base_manifest)
    moved = {k for k in weights if not torch.equal(weights[k], before[k])}
    assert moved == {k for k in weights if "proj" in k}
    assert [row["iteration"] for row in rows] == [1, 2]
    assert [row["learning_rate"] for row in rows] == [1.5e-3, 3e-3]
    assert all(row["gradient_norm"] > 0 for row in rows)
    assert not {"generated_tokens", "kl_penalty_nats", "hacking_alarm"} & set(rows[0])


def test_the_first_loss_is_the_cross_entropy_of_the_examples(start, model_and_tokenizer):
    """A mean over tokens, so that long answers count more; padding counts nothing."""
    on = with_short_answers(start())
    rows, _ = carried_out(variant(iterations=1), on)
    first = supervised.step_rows(RECIPE, on, 0)
    pairs = list(zip(first["prompt"], first["response"], strict=True))
    assert rows[0]["policy_loss"] == pytest.approx(cross_entropy(*model_and_tokenizer, pairs))
    words = [len(answer.split()) + 1 for answer in first["response"]]  # and the end
    assert len(set(words)) == 2
    assert rows[0]["trained_tokens"] == sum(words)


def test_the_loss_falls_on_the_same_examples(start):
    rows, _ = carried_out(variant(iterations=20), start())
    assert rows[-1]["policy_loss"] < rows[0]["policy_loss"] - 0.5


def test_the_same_examples_come_in_epochs_of_different_order(start):
    on = start()
    n = len(on.sft_rows)
    steps = [supervised.step_rows(RECIPE, on, i)["problem_id"] for i in range(5)]
    read = [name for names in steps for name in names]
    assert len(read) == 5 * RECIPE.responses > 2 * n
    first, second = read[:n], read[n : 2 * n]
    assert first != second
    assert sorted(first) == sorted(second) == sorted(on.sft_rows["problem_id"])


def test_fresh_examples_are_the_problems_that_rl_is_asked(start):
    on = start()
    for i in range(3):
        read = supervised.step_rows(variant(examples="fresh"), on, i)
        asked = draw(on.prompts, RECIPE.responses, np.random.default_rng([on.seed, 4, i]))
        assert list(read["problem_id"]) == list(asked["problem_id"])
    assert not set(read["problem_id"]) <= set(on.sft_rows["problem_id"])


def test_any_answer_is_correct_and_not_always_the_same(start):
    on = start()
    recipe = variant(answers="any")
    answers: dict[str, set[str]] = {}
    solutions: dict[str, int] = {}
    for i in range(40):
        for row in supervised.step_rows(recipe, on, i).to_dict("records"):
            problem = from_row(row)
            assert verify(on.task, problem, row["response"]).outcome == "correct"
            written = read_answer(on.task, problem, row["response"]).words
            answers.setdefault(problem.problem_id, set()).add(" ".join(written))
            solutions[problem.problem_id] = len(formulas(problem.values, problem.target))
    for name, several in answers.items():
        assert (len(several) > 1) == (solutions[name] > 1), name
    canonical = supervised.step_rows(RECIPE, on, 0)
    drawn = supervised.step_rows(recipe, on, 0)
    assert list(drawn["problem_id"]) == list(canonical["problem_id"])
    assert list(drawn["response"]) != list(canonical["response"])
    assert drawn.equals(supervised.step_rows(recipe, on, 0))


@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_micro_batches_do_not_change_a_run(coefficient, start, monkeypatch):
    recipe = variant(kl_coefficient=coefficient)
    rows, weights = carried_out(recipe, start("whole"))
    monkeypatch.setattr(supervised, "ROWS_AT_ONCE", 5)
    parted, others = carried_out(recipe, start("parted"))
    for one, other in zip(without_times(rows), without_times(parted), strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)
    assert all(torch.allclose(weights[k], others[k], atol=1e-4) for k in weights)


def test_kl_holds_the_model_near_the_base(start):
    free, _ = carried_out(variant(iterations=12), start("free"))
    held, _ = carried_out(variant(iterations=12, kl_coefficient=20.0), start("held"))
    assert held[-1]["kl_from_base_nats"] < 0.2 * free[-1]["kl_from_base_nats"]
    assert held[0]["kl_penalty_nats"] == pytest.approx(0, abs=1e-6)
    assert held[-1]["kl_penalty_nats"] > 0
    assert held[-1]["policy_loss"] > free[-1]["policy_loss"]


@pytest.mark.parametrize("reference", ["start", "base"])
def test_the_penalty_is_the_divergence_of_the_reference_from_the_model(
    reference, start, other_manifest, base_manifest
):
    """By hand, row by row, without padding: sum over words of p_ref (log p_ref - log p)."""
    on = with_short_answers(replace(start(), start=other_manifest))
    rows, _ = carried_out(variant(iterations=1, kl_coefficient=1.0, kl_from=reference), on)
    model, tokenizer = checkpoints.load_model(other_manifest)
    base, _ = checkpoints.load_model(base_manifest)
    found = []
    for row in supervised.step_rows(RECIPE, on, 0).to_dict("records"):
        asked = tokens.prompt_ids(tokenizer, row["prompt"])
        ids = torch.tensor([asked + tokens.response_ids(tokenizer, row["response"])])
        with torch.no_grad():
            own, other = (m(ids).logits[0, len(asked) - 1 : -1].log_softmax(-1)
                          for m in (model, base))  # fmt: skip
        found += (other.exp() * (other - own)).sum(-1).tolist()
    expected = np.mean(found) if reference == "base" else 0.0
    assert rows[0]["kl_penalty_nats"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_distances_are_measured_now_and_then(start):
    rows, _ = carried_out(RECIPE, start())
    measured = [row["iteration"] for row in rows if "kl_from_start_nats" in row]
    assert measured == [1, 4, 8]
    assert rows[0]["kl_from_start_nats"] == rows[0]["kl_from_base_nats"] > 0  # after the step


def test_a_token_budget_ends_the_run_and_measures_its_end(start):
    whole, _ = carried_out(RECIPE, start("whole"))
    budget = sum(row["trained_tokens"] for row in whole[:5])
    rows, _ = carried_out(variant(token_budget=budget), start("short"))
    assert len(rows) == 5
    assert "kl_from_base_nats" in rows[-1]
    assert rows[-1]["policy_loss"] == whole[4]["policy_loss"]


def test_the_rate_follows_a_cosine_to_zero(start):
    rows, _ = carried_out(variant(schedule="cosine", optimizer=Optimizer(warmup_steps=0)), start())
    rates = [row["learning_rate"] for row in rows]
    assert rates[0] == Optimizer().learning_rate
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.1 * rates[0]


def test_a_killed_run_resumes_to_the_same_rows_and_weights(start, monkeypatch):
    recipe = variant(answers="any", kl_coefficient=0.1, kl_from="start")
    rows, weights = carried_out(recipe, start("whole"))

    def dies(recipe, on, i):
        if i == 7:
            raise KeyboardInterrupt
        return step_rows(recipe, on, i)

    step_rows = supervised.step_rows
    monkeypatch.setattr(supervised, "step_rows", dies)
    killed = start("killed")
    with pytest.raises(KeyboardInterrupt):
        supervised.train(recipe, killed)
    assert killed.work.latest().step == 6
    killed.work._lock.close()
    monkeypatch.undo()
    again, resumed = carried_out(recipe, start("killed"))
    assert without_times(again) == without_times(rows)
    assert all(torch.equal(resumed[k], weights[k]) for k in weights)


def test_a_run_that_diverges_says_so_and_publishes_nothing(start):
    on = start()
    # a rate that throws weights to infinity, which no clipping of the gradient prevents
    wild = Optimizer(learning_rate=1.0, warmup_steps=0, weight_decay=1e30)
    with pytest.raises(Diverged, match=r"optimizer\.learning_rate") as failure:
        jobs.run_recipe(variant(optimizer=wild), on)
    assert failure.value.rows
    assert on.work.latest() is None
    assert not on.work.staged(on.name).exists()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_average_lies_between_start_and_base(share, start, other_manifest, base_manifest):
    on = replace(start(), start=other_manifest)
    rows, weights = carried_out(Average(algorithm="average", base_share=share), on)
    assert rows == [{"iteration": 1}]
    one, two = checkpoints.load_weights(other_manifest), checkpoints.load_weights(base_manifest)
    assert weights.keys() == two.keys()
    for k in weights:
        expected = (1 - share) * one[k] + share * two[k]
        assert torch.allclose(weights[k], expected, rtol=0, atol=1e-7), k
    assert (share == 1.0) == all(torch.equal(weights[k], two[k]) for k in weights)
