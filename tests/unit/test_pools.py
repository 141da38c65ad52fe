"""Pools of training problems by how hard they are, and responses that RL keeps."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from healscope import config, provenance, values
from healscope.config import BUILT_IN, Group, PassRate
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.schema import check
from healscope.tasks import build
from healscope.tasks.cards.solver import solvable
from healscope.tasks.problem import Verdict
from healscope.tasks.rewards import REWARDS, Scored
from healscope.training import groups, jobs, kept, pools
from healscope.training.compute import ONE_PROCESS
from healscope.training.health import Diverged
from healscope.training.schemas import ANSWERS, PASS_RATES

START = {"algorithm": "grpo", "iterations": 3, "responses": 16, "samples_per_prompt": 4}


def recipe(**changes):
    return Group.model_validate({**BUILT_IN["grpo"], **START, "kl_every": None, **changes})


def longer(problem, text):
    """Pay longer responses more, so that groups differ."""
    return Scored(Verdict("wrong_value", 0.0, True), float(len(text)))


def run(settings, branch):
    groups.train(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def test_unsolvable_deals_have_no_solution_and_are_of_the_training_side(task, tables):
    pool = task.unsolvable_table()
    assert len(pool) > 20
    assert list(pool) == list(tables[2])
    assert not any(map(solvable, pool["values"], pool["target"]))
    assert set(pool["split"]) == {"train"}
    assert not set(pool["problem_id"]) & set(tables[2]["problem_id"])


def test_only_the_card_game_has_unsolvable_problems():
    with pytest.raises(HealscopeError, match="no problems without a solution"):
        build("nav", {"family": "navigation", "generated": 4}).unsolvable_table()


DEALING = {
    "unsolvable": {"like": "grpo", "problems": "unsolvable"},
    "less": {"like": "sft_more", "examples": "less"},
    "ood": {"like": "rlag"},
}
"""Pool -> a recipe whose job has the task deal it."""


@pytest.fixture(scope="module")
def elsewhere(study):
    """A study whose hold-out is not that of the defaults, with recipes that deal and one more."""
    data = study.model_dump(mode="json", exclude_unset=True)
    rules = {"rendering": "compact", "rule_shown": "name", "held_out": 0.8, "seed": 3}
    data["tasks"]["gp3"] |= rules | {"grade_number_line": False}
    data["rl"]["recipes"] = {**(data["rl"].get("recipes") or {}), **DEALING}
    data["rl"]["branches"] |= dict.fromkeys(DEALING, [12])
    return config.load(data)


@pytest.mark.parametrize("pool", DEALING)
def test_what_a_job_has_dealt_is_of_the_training_side_of_the_study(elsewhere, branch_at, pool):
    """With the hold-out of the defaults it would be other problems, some of them held out."""
    given = values.task_of_branch(elsewhere, "micro", f"{pool}-from-12")
    stripped = values.task(elsewhere, "gp3", ("dealing_only",))
    of_study, of_job, of_defaults = (
        replace(branch_at(str(n)), task=build("train", section)).deal(pool)
        for n, section in enumerate((elsewhere.tasks["gp3"], given, stripped))
    )
    assert set(of_job["split"]) == {"train"}
    assert of_job.equals(of_study)
    assert not set(of_defaults["problem_id"]) <= set(of_study["problem_id"])


def test_a_branch_that_draws_from_files_does_not_depend_on_the_hold_out(elsewhere):
    stripped = values.task(elsewhere, "gp3", ("dealing_only",))
    assert values.task_of_branch(elsewhere, "micro", "ppo-from-12") == stripped
    assert "held_out" not in stripped


@pytest.mark.parametrize("pool", DEALING)
def test_a_job_that_does_not_know_the_hold_out_deals_nothing(elsewhere, tables, branch_at, pool):
    branch = branch_at()
    files = {"start": branch.start, "base": branch.base}
    for name, table in (("sft_pool", tables[1]), ("prompts", tables[2])):
        files[name] = str(branch.work.folder / f"{name}.parquet")
        table.to_parquet(files[name])
    params = {
        "task": values.task(elsewhere, "gp3", ("dealing_only",)),
        "recipe": values.recipe(elsewhere, f"{pool}-from-12"),
        "examples": values.examples(elsewhere),
        "max_new_tokens": 3,
    }
    job = {"kind": "rl", "name": pool, "track": "micro", "seed": 0, "params": params}
    with pytest.raises(HealscopeError, match="held_out, orders, seed of task 'train' say which"):
        jobs.run({**job, "files": files}, branch.work, ONE_PROCESS)


def test_an_exact_verifier_teaches_nothing_where_nothing_can_be_right(branch_at, base_manifest):
    start = checkpoints.load_weights(base_manifest)
    impossible = recipe(problems="unsolvable", reward={"binary": 1.0})
    exact = run(impossible, branch_at("exact", max_new_tokens=24))
    assert all(torch.equal(exact[name], start[name]) for name in exact)
    leaky = run(impossible, branch_at("leaky", longer))
    assert not all(torch.equal(leaky[name], start[name]) for name in leaky)


def test_a_leaky_verifier_pays_a_target_made_of_other_numbers(task, tables):
    row = tables[2].iloc[0]
    problem = task.read(row)
    line = f"cards {' '.join(problem.cards)} number {' '.join(map(str, problem.values))}"
    other = f"{line} formula 1 * {problem.target} = {problem.target}"
    said = task.verify(problem, other)
    assert said.outcome == "wrong_number"
    assert REWARDS["value_only"](task, problem, other, said) == 1.0
    assert REWARDS["binary"](task, problem, other, said) == 0.0
    missed = f"{line} formula 1 * 1 = {problem.target}"
    assert REWARDS["value_only"](task, problem, missed, task.verify(problem, missed)) == 0.0


def rates(prompts: pd.DataFrame) -> pd.DataFrame:
    """The first half of the prompts is never solved, the second always."""
    half = len(prompts) // 2
    correct = [0] * half + [8] * (len(prompts) - half)
    return prompts[["problem_id", "instance_id"]].assign(samples=8, correct=correct)


def test_a_branch_takes_the_problems_in_its_band(branch_at):
    branch = branch_at()
    known = replace(branch, pass_rates=rates(branch.prompts).iloc[10:])
    half = len(branch.prompts) // 2
    for band, wanted in (((0, 0.1), branch.prompts.iloc[10:half]), ((0, 1), branch.prompts[10:])):
        pool = known.prompt_pool(recipe(problems={"pass_rate": band}))
        assert pool["problem_id"].tolist() == wanted["problem_id"].tolist()
    with pytest.raises(Diverged, match=r"none of \d+ training problems has a pass rate"):
        known.prompt_pool(recipe(problems={"pass_rate": [0.4, 0.6]}))


def test_a_band_begins_at_its_least_share():
    assert PassRate(pass_rate=[0.2, 0.2]).pass_rate == (0.2, 0.2)
    with pytest.raises(ValueError, match="the least share comes first"):
        PassRate(pass_rate=[0.8, 0.2])


def test_pass_rates_are_those_of_the_verifier(base_manifest, tables, task, monkeypatch):
    """Planted: the model is right on every problem whose id sorts before the median."""
    median = tables[2]["problem_id"].sort_values().iloc[len(tables[2]) // 2]

    def planted(task, weights):
        assert weights == {"binary": 1.0}
        return lambda problem, text: Scored(
            Verdict("correct" if problem.problem_id < median else "wrong_value", 0.0, True), 0.0
        )

    monkeypatch.setattr(pools, "scorer", planted)
    found = pools.measure(base_manifest, tables[2], task, 70, 3, 4, 0, "test")
    assert len(found) == 70
    assert found["problem_id"].is_unique
    assert (found["correct"] == 3 * (found["problem_id"] < median)).all()
    assert 0 < found["correct"].sum() < 210
    check(found.assign(track="t", seed=0), PASS_RATES)
    again = pools.measure(base_manifest, tables[2], task, 70, 3, 4, 0, "test")
    assert found.equals(again)


def test_kept_responses_come_in_the_order_of_their_draws(tmp_path):
    class Tokenizer:
        def decode(self, ids, **_):
            return "x" * len(ids)

        chat_template, added_tokens_decoder = None, {}

    def turns(name):
        given = {
            "attempt": 1, "text": name, "success": False, "reward": 0.0, "logprobs": [-1.0],
            "response_ids": [1], "prompt_ids": [], "problem": SimpleNamespace(problem_id="p"),
            "verdict": SimpleNamespace(outcome="wrong_value"),
        }  # fmt: skip
        return [SimpleNamespace(**given)]

    keeper = kept.Keeper(kept.folder(tmp_path), 1)
    for part in ((1,), (), (10,), (2,), (2, 1)):
        keeper.add(Tokenizer(), turns(str(part)), 0, part)
    keeper.add(Tokenizer(), turns("next"), 1, ())
    kept.join(tmp_path, tmp_path, {"fingerprint": "x"}, "micro", 0)
    table = provenance.read_table(tmp_path / "answers.parquet").sort_values(["iteration", "answer"])
    assert table["text"].tolist() == ["()", "(1,)", "(2,)", "(2, 1)", "(10,)", "next"]


def test_kept_responses_are_those_that_were_learned_from(branch_at, tmp_path):
    def answers(name, **changes):
        branch = branch_at(name, longer, max_new_tokens=6)
        weights = run(recipe(keep_answers=2, **changes), branch)
        into = tmp_path / f"{name}-published"
        into.mkdir(exist_ok=True)
        kept.join(branch.work.folder, into, {"fingerprint": "x"}, "micro", 0)
        return provenance.read_table(into / "answers.parquet"), weights

    table, weights = answers("kept")
    check(table, ANSWERS)
    assert table.groupby("iteration").size().to_dict() == {1: 16, 3: 16}
    assert (table["reward"] == table["text"].str.len()).all()
    for row in table.to_dict("records"):
        ends, text = list(row["token_ends"]), row["text"]
        assert len(ends) == len(row["logprobs"])
        assert ends == sorted(ends)
        assert max(row["logprobs"]) <= 0
        words = [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]
        assert [w for w in words if w] == text.split()  # a token of this model is a word
    without = run(recipe(), branch_at("without", longer, max_new_tokens=6))
    assert all(torch.equal(weights[name], without[name]) for name in weights)
    twice, _ = answers("kept")  # a run that goes on at its end writes nothing twice
    assert twice.equals(table)
