"""Steps of answers, rewards of them, answers that are begun, and the finding about them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from healscope.config import PPO, RL, Statistics, Supervised
from healscope.findings import stepwise
from healscope.schema import check
from healscope.tasks.cards.game import make_problem, response
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.solver import formulas
from healscope.tasks.rewards import Step, scorer, similarity
from healscope.training.begun import instances

GAME = GeneralPoints(name="g", cards=3, targets=(12,), rendering="compact", grade_number_line=True)
FOUR = GeneralPoints(name="g", cards=4, targets=(24,), rendering="compact", grade_number_line=True)
HAND = make_problem(GAME, ("3", "4", "5"), "id", 12)
SAID = "cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 12"
LINES = "cards 3 4 5 number 3 4 5"


def paid(name, text, begun=None, expert="", hand=HAND, game=GAME):
    step = [] if begun is None else [Step(begun, expert)]
    return scorer(game, {name: 1.0})(hand, text, *step).reward


def test_similarity_in_closed_form():
    assert similarity("abcd", "bcde") == 0.75
    assert similarity("abcd", "abcd") == 1.0
    assert similarity("ab", "cd") == 0.0
    assert similarity(["3", "+", "4", "=", "7"], ["4", "+", "3", "=", "7"]) == pytest.approx(0.6)


def test_steps_are_the_lines_and_each_operation():
    first, second = ("formula ( 3 + 5 )", "+ 4 = 12")
    assert GAME.steps(SAID) == ("cards 3 4 5", "number 3 4 5", first, second)
    nested = f"{LINES} formula 3 * ( 5 - 1 ) = 12"
    assert GAME.steps(nested)[2:] == ("formula 3 *", "( 5 - 1 ) = 12")
    assert GAME.steps("") == ()


def test_steps_join_to_the_answer_and_the_rest_of_an_answer_has_the_rest_of_its_steps():
    """For every bracketing of four numbers: two lines and three operations."""
    hand = make_problem(FOUR, ("2", "4", "3", "9"), "id", 24)
    for formula in formulas(hand.values, 24):
        answer = response(FOUR, hand, formula)
        steps = FOUR.steps(answer)
        assert len(steps) == 5, answer
        assert " ".join(steps) == answer
        for k in range(1, 5):
            assert FOUR.steps(" ".join(steps[k:])) == steps[k:]


def test_a_line_of_confidence_is_no_step():
    sure = GeneralPoints(
        name="g", cards=3, targets=(12,), rendering="compact", grade_number_line=True,
        confidence=True,
    )  # fmt: skip
    said = f"{SAID} sure c5"
    assert sure.steps(said) == GAME.steps(SAID)
    assert sure.verify(HAND, said).outcome == "correct"
    begun = f"{LINES} formula ( 3 + 5 )"
    for reward in ("similar", "similar_any", "reachable"):
        assert paid(reward, said, begun, "+ 4 = 12", game=sure) == 1.0
    assert paid("reachable", f"{begun} - 4 = 12 sure c5", begun, "+ 4 = 12", game=sure) == 0.0
    found = instances(sure, sure.rl_table().head(2), False, 0)
    assert not found["ends"].any()  # the line comes after the last step


def test_n_steps_give_n_minus_one_problems(tables, task):
    some = tables[2].head(6)
    found = instances(task, some, False, 0)
    for row in some.to_dict("records"):
        steps = task.steps(task.answers(task.read(row))[0])
        own = found[found["problem_id"] == row["problem_id"]]
        assert len(own) == len(steps) - 1
        assert list(own["expert"]) == list(steps[1:])
        assert list(own["begun"]) == [" ".join(steps[:k]) for k in range(1, len(steps))]
        assert list(own["ends"]) == [False] * (len(own) - 1) + [True]
    other = instances(task, some, True, 0)
    assert list(other["begun"]) == list(found["begun"])
    assert set(other["expert"]) == set(found["expert"])
    assert (other["expert"] != found["expert"]).mean() > 0.5


def brute(hand, words):
    """Whether some correct answer, however bracketed by the solver, begins with these words."""
    n = len(words)
    answers = (response(GAME, hand, f).split() for f in formulas(hand.values, hand.target))
    return any(answer[:n] == words for answer in answers)


@pytest.mark.parametrize("cards", [("3", "4", "5"), ("A", "6", "7"), ("2", "2", "8")])
def test_what_can_be_right_is_what_the_solver_says(cards):
    """Of every beginning of every formula, right or wrong, over a hand's numbers."""
    hand = make_problem(GAME, cards, "id", 12)
    a, b, c = map(str, hand.values)
    seen = {True: 0, False: 0}
    for p, q in product("+-*/", repeat=2):
        for formula in (f"( {a} {p} {b} ) {q} {c}", f"{c} {p} ( {a} {q} {b} )"):
            lines = f"cards {' '.join(cards)} number {a} {b} {c} formula"
            words = f"{lines} {formula} = 12".split()
            for n in range(1, len(words) + 1):
                can = GAME.can_be_right(hand, " ".join(words[:n]))
                if brute(hand, words[:n]):
                    assert can, words[:n]
                elif "= 12" in " ".join(words[:n]) or n <= len(lines.split()):
                    assert not can, words[:n]
                seen[can] += 1
    assert min(seen.values()) > 10
    assert not GAME.can_be_right(hand, "cards 9")
    assert not GAME.can_be_right(hand, f"{lines} 9")


def test_a_step_that_no_expert_takes_can_be_as_good():
    """The defect of a text metric: 5 + 3 is as right as 3 + 5."""
    begun, expert = LINES, "formula ( 3 + 5 )"
    swapped = f"{LINES} formula ( 5 + 3 ) + 4 = 12"
    assert paid("similar", SAID, begun, expert) == 1.0
    assert 0 < paid("similar", swapped, begun, expert) < 1
    assert paid("similar_any", swapped, begun, expert) == 1.0
    assert paid("reachable", swapped, begun, expert) == 1.0
    lost = f"{LINES} formula ( 3 * 5 ) + 4 = 12"
    assert paid("similar", lost, begun, expert) > 0.5
    assert paid("reachable", lost, begun, expert) == 0.0


def test_what_comes_after_a_step_is_not_paid_and_an_end_within_one_is_not_reachable():
    begun = LINES
    for reward in ("similar", "similar_any", "reachable"):
        spoilt = f"{LINES} formula ( 3 + 5 ) - 4 = 12"
        assert paid(reward, spoilt, begun, "formula ( 3 + 5 )") == 1.0
    assert paid("reachable", f"{LINES} formula ( 3 +", begun, "formula ( 3 + 5 )") == 0.0
    assert paid("reachable", SAID, f"{LINES} formula ( 3 + 5 )", "+ 4 = 12") == 1.0


def test_whole_answers_are_paid_by_their_formula():
    reference = GAME.answers(HAND)[0]
    for reward in ("similar", "similar_any", "reachable"):
        assert paid(reward, reference) == 1.0
        assert 0 <= paid(reward, "") < 0.5
    assert paid("similar_any", SAID) == 1.0
    dead = f"{LINES} formula ( 3 + 5 ) - 4 = 12"
    assert paid("reachable", dead) == pytest.approx(5 / 8)  # alive up to the bracket's end
    assert paid("reachable", dead.replace("number 3", "number 2")) == 0.0


def test_other_tasks_have_no_steps():
    game = GeneralPoints(name="g", cards=3, rendering="json")
    assert game.steps('{"formula": "3+4+5"}') == ()


# In training.


def begun_recipe(**changes):
    given = {"iterations": 1, "responses": 16, "samples_per_prompt": 4, "kl_every": None}
    paid = {"reward": {"similar": 1.0}, "credit": {}, "prefixes": "expert"}
    return PPO.model_validate({"algorithm": "ppo", **given, **paid, **changes})


def test_what_was_begun_is_prompt_and_the_response_is_one_step(branch_at, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    branch, recipe = branch_at(max_new_tokens=20), begun_recipe()
    pool = branch.prompt_pool(recipe)
    sampler = branch.sampler(recipe, prompt_states=True)
    turns = sampler.sample(model, tokenizer, pool.head(4), (0, 5, 0))
    assert len(turns) == 16
    for turn, row in zip(turns[::4], pool.head(4).to_dict("records"), strict=True):
        asked = tokenizer.decode(turn.prompt_ids, skip_special_tokens=True)
        assert asked == f"{row['prompt']} {row['begun']}"
        assert turn.text.startswith(row["begun"])
    cut = [t for t in turns if t.left_out]
    for turn in turns:
        assert len(turn.response_ids) == len(turn.logprobs) > 0
        said = tokenizer.decode(turn.response_ids, skip_special_tokens=True)
        assert len(branch.task.steps(said)) <= 1 or not turn.left_out
    whole = branch.sampler(begun_recipe(reward={"binary": 1.0}), prompt_states=True)
    full = whole.sample(model, tokenizer, pool.head(4), (0, 5, 0))
    assert [len(t.response_ids) + t.left_out for t in turns] == [len(t.response_ids) for t in full]
    assert cut
    assert not any(t.left_out for t in full)


def test_sft_reads_the_same_steps(branch_at, model_and_tokenizer):
    from healscope.training import supervised

    branch = branch_at()
    recipe = Supervised(algorithm="sft", iterations=1, responses=8, prefixes=True, kl_every=None)
    pool = branch.prompt_pool(recipe)
    rows = supervised.step_rows(recipe, branch, 0, pool)
    _, tokenizer = model_and_tokenizer
    for pair, row in zip(
        supervised._encode_steps(tokenizer, rows), rows.to_dict("records"), strict=True
    ):
        assert tokenizer.decode(pair.prompt_ids).endswith(row["begun"])
        assert tokenizer.decode(pair.response_ids, skip_special_tokens=True) == row["expert"]
        assert (pair.response_ids[-1] == tokenizer.eos_token_id) == row["ends"]
    (row,) = supervised.train(recipe, branch)
    assert 0 < row["trained_tokens"] < 8 * 20


@pytest.mark.parametrize(
    "changes", [{"attempts": 2, "credit": None}, {"keep_answers": 2}, {"credit": {"tokens": "all"}}]
)
def test_what_begun_answers_cannot_have_is_refused(changes):
    with pytest.raises(ValueError, match="prefixes: needs"):
        begun_recipe(**changes)


# The finding.

SETTINGS = Statistics(resamples=500)
N = 160


def answers(arm, right, rng, pool="hard"):
    seed, problem = (a.ravel() for a in np.indices((3, N)))
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "problem_id": [f"{pool}{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem], "draw": problem, "sample": 0,
            "half": np.array(["a", "b"])[problem % 2], "rule": "ood" if pool == "ood" else "id",
            "checkpoint": "sft-9" if arm == "start" else f"{arm}-from-9", "arm": arm, "start": 9,
            "pool": pool, "retried": True, "correct": rng.random(3 * N) < right,
        }
    )  # fmt: skip


def rows(draw=0, **right):
    rng = np.random.default_rng(draw)
    usual = {"start": 0.15, "sft": 0.2, "whole": 0.2, "outcome": 0.2, "similar": 0.2,
             "similar_any": 0.2, "another": 0.15}  # fmt: skip
    parts = [answers(a, r, rng, p) for a, r in (usual | right).items() for p in ("hard", "ood")]
    return pd.concat(parts, ignore_index=True)


def verdicts(found):
    return {c["claim"]: c["verdict"] for c in stepwise.claims_of(found, SETTINGS)}


def test_planted_help_is_found_unless_a_control_helps_as_much():
    said = verdicts(rows(similar=0.5))
    assert said["step-rewards-help-where-all-fail"] == said["step-rewards-beat-outcomes"] == "held"
    for control in ("whole", "outcome", "sft"):
        said = verdicts(rows(similar=0.5, **{control: 0.5}))
        assert said["step-rewards-help-where-all-fail"] != "held", control
    assert verdicts(rows(similar=0.2, similar_any=0.5))["one-reference-costs"] == "held"


def test_where_nothing_is_ever_right_nothing_is_decided():
    said = verdicts(rows(**dict.fromkeys(stepwise.ARMS, 0.01)))
    assert set(said.values()) == {"undecided"}


def test_arms_that_are_alike_are_seldom_told_apart():
    said = [verdicts(rows(draw)) for draw in range(10)]
    for claim in said[0]:
        assert [v[claim] for v in said].count("held") <= 1, claim


def test_the_table_has_accuracy_by_pool_and_groups_with_a_signal(monkeypatch):
    monkeypatch.setattr(stepwise, "read", lambda *_: rows(similar=0.5))
    logged = pd.DataFrame(
        {"track": "t", "start": 9, "arm": "similar", "seed": [0, 1, 2], "value": [0.4, 0.5, 0.6]}
    )
    monkeypatch.setattr(stepwise, "signal", lambda *_: logged)
    table = stepwise.measure([], [], {}, SETTINGS)
    check(table, stepwise.SCHEMA)
    whole = table[table["seed"] == "all"].set_index(["arm", "pool", "measure"])["share"]
    assert whole["similar", "hard", "accuracy"] == pytest.approx(0.5, abs=0.05)
    assert whole["similar", "", "signal"] == pytest.approx(0.5)
    assert "similar" in stepwise.section(table)


def test_roles_are_read_from_the_recipes():
    own = {"like": "ppo", "samples_per_prompt": 8, "reward": {"binary": 1.0}, "credit": {}}
    recipes = {
        "whole": own,
        "outcome": {"like": "whole", "prefixes": "expert"},
        "srl": {"like": "outcome", "reward": {"similar": 1.0}},
        "any": {"like": "srl", "reward": {"similar_any": 1.0}},
        "wrong": {"like": "srl", "prefixes": "another"},
        "sft_steps": {"algorithm": "sft", "examples": "fresh", "prefixes": True},
        "no_spread": {"like": "whole", "credit": {"spread": False}},
    }
    study = RL.model_validate(
        {"recipes": recipes, "branches": dict.fromkeys(["ppo", *recipes], [9])}
    )
    assert study.step_arms() == {
        "whole": "whole", "outcome": "outcome", "srl": "similar", "any": "similar_any",
        "wrong": "another", "sft_steps": "sft",
    }  # fmt: skip
