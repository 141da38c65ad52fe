"""REINFORCE: one iteration, and that it makes paid answers more probable."""

import numpy as np
import pandas as pd

from healscope.config.recipes import Reinforce
from healscope.schema import check
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.training.jobs import run_recipe
from healscope.training.schemas import RL_LOG

RECIPE = Reinforce(
    algorithm="reinforce", iterations=1, responses=64, optimizer={"learning_rate": 0.02},
    freeze=["embed_tokens"], kl_every=1,
)  # fmt: skip


def first_word(problem, text):
    good = text.split()[:1] == ["cards"]
    said = Verdict("correct" if good else "no_answer", good, good, good, good, good)
    return Scored(said, float(good))


def test_an_iteration_is_logged_and_staged(branch_at):
    branch = branch_at(score=first_word)
    (row,) = run_recipe(RECIPE, branch)
    assert branch.work.staged(branch.name).is_dir()
    assert row["gradient_norm"] > 0
    assert row["kl_from_start_nats"] > 0
    logged = pd.DataFrame([row]).assign(track="micro", seed=0, run="reinforce-from-0", failure="")
    check(RL_LOG.complete(logged), RL_LOG)


def test_a_bandit_is_solved(branch_at):
    rows = run_recipe(
        RECIPE.model_copy(update={"iterations": 25, "kl_every": None}), branch_at(score=first_word)
    )
    assert np.mean([row["correct_share"] for row in rows[-3:]]) > 0.8
