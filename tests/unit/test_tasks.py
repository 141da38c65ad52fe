"""Any task, by a small one without cards: tables, examples, training and evaluation."""

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from healscope import config, provenance
from healscope.config import Evaluation, Pretraining, Protocol, Scratch
from healscope.errors import HealscopeError
from healscope.evaluation.schemas import EVALUATION
from healscope.schema import check
from healscope.sections import Distinct, Positive
from healscope.tasks import build, posing, schemas, tables
from healscope.tasks.problem import FORMATS, Problem
from healscope.tasks.rewards import scorer
from healscope.tasks.section import section_of
from healscope.tasks.task import Task

sys.path.insert(0, str(Path(__file__).parents[1]))
from parity import Parity

NO_NOISE = Pretraining(rule_noise=0.0, formula_noise=0.0, eval_format_share=0.0)


@dataclass(frozen=True, kw_only=True)
class Steps(Parity):
    """The bits as steps of an episode; strings of five bits under the OOD rule alone."""

    episodes = True

    def problems(self, rule):
        for whole in super().problems(rule):
            if rule == "id" and len(whole.data["bits"]) == 5:
                continue
            for part, bit in enumerate(whole.data["bits"]):
                data = {"bits": bit}
                yield Problem(whole.instance_id, rule, data, f"bits {bit} parity even", part)


def under_every_format(task):
    """Prompt -> its problem, for every format token."""
    every = [p for rule in ("id", "ood") for p in task.listed(rule)]
    return {task.prompt(p, token): p for p in every for token in FORMATS}


@pytest.fixture(params=["compact", "json"])
def parity(request):
    return Parity(name="parity", rendering=request.param)


@pytest.fixture
def steps():
    return Steps(name="steps")


def test_all_problems_of_both_rules_are_listed_in_pairs(parity):
    table = parity.problem_table()
    assert list(table.columns) == list(tables.COLUMNS)
    assert len(table) == 2 * sum(2**n for n in range(2, 6))
    assert list(table["rule"][:4]) == ["id", "ood", "id", "ood"]
    assert (table["pair_id"][::2].to_numpy() == table["pair_id"][1::2].to_numpy()).all()
    assert table["problem_id"].is_unique
    assert parity.count() == (len(table), (table["split"] == "held_out").sum())
    assert table.equals(parity.problem_table())
    assert table.equals(replace(parity).problem_table())  # of a task that remembers nothing


def test_a_row_gives_back_its_problem(parity):
    every = {p.problem_id: p for rule in ("id", "ood") for p in parity.problems(rule)}
    for row in parity.problem_table().to_dict("records"):
        problem = parity.read(row)
        assert problem == every[row["problem_id"]]
        assert parity.prompt(problem) == row["prompt"]
        assert parity.verify(problem, row["response"]).outcome == "correct"


@pytest.mark.parametrize("held_out", [0.1, 0.4, 0.75])
def test_instances_are_held_out_and_halved_evenly(held_out):
    task = Parity(name="parity", held_out=held_out)
    table = task.problem_table()
    assert (table.groupby("instance_id")[["split", "half"]].nunique() == 1).all(axis=None)
    instances = table.drop_duplicates("instance_id")
    assert (instances["split"] == "held_out").sum() == round(held_out * len(instances))
    for _, rows in instances.groupby("split"):
        a, b = (rows["half"] == "a").sum(), (rows["half"] == "b").sum()
        assert abs(a - b) <= 1
    pool = task.sft_table()
    trained = table[(table["split"] == "train") & (table["rule"] == "id")]
    assert pool.equals(trained.reset_index(drop=True))
    assert task.rl_table().equals(pool)  # with answers: rewards compare with them


def test_seeds_hold_out_others():
    def held_out(seed):
        table = Parity(name="parity", seed=seed).problem_table()
        return set(table.loc[table["split"] == "held_out", "instance_id"])

    assert held_out(0) == held_out(0)
    assert held_out(0) != held_out(1)
    assert len(held_out(0)) == len(held_out(1))


def test_instances_of_the_ood_rule_alone_are_held_out(steps):
    table = steps.problem_table()
    alone = table[table["instance_id"].str.len() == 5]
    assert len(alone) == 5 * 2**5
    assert set(alone["rule"]) == {"ood"}
    assert set(alone["split"]) == {"held_out"}
    counts = alone.drop_duplicates("instance_id")["half"].value_counts()
    assert counts["a"] == counts["b"]
    assert steps.parts == 5


def test_the_steps_of_an_episode_have_its_name(steps, parity):
    table = steps.problem_table()
    assert (table["episode_id"] == table["instance_id"] + ":" + table["rule"]).all()
    sizes = table.groupby("episode_id").size()
    assert (sizes == sizes.index.str.partition(":").get_level_values(0).str.len()).all()
    assert parity.problem_table()["episode_id"].isna().all()


def test_a_training_instance_has_ood_problems_only_in_pairs(parity):
    class Odd(Parity):
        """Under the OOD rule, strings have another number."""

        def problems(self, rule):
            for problem in super().problems(rule):
                yield replace(problem, part=1) if rule == "ood" else problem

    table = Odd(name="odd").problem_table()
    assert set(table.loc[table["split"] == "train", "rule"]) == {"id"}
    assert set(table.loc[table["split"] == "held_out", "rule"]) == {"id", "ood"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_too_few_problems_are_refused_before_a_model_is_asked(number):
    """A half of the instances picks checkpoints for the other: each half needs both rules."""
    few = Parity(name="parity", held_out=1.0).problem_table()
    few = few[few["instance_id"].isin(few["instance_id"].unique()[:number])]
    few = few.assign(
        half=["ab"[i % 2] for i in few["instance_id"].rank(method="dense").astype(int)]
    )
    if number == 1:
        with pytest.raises(HealscopeError, match="1 held-out instances have a problem"):
            tables.require_enough("parity", few)
        with pytest.raises(HealscopeError, match="'parity': 0 held-out instances .* the ID rule"):
            tables.require_enough("parity", few[few["rule"] == "ood"])
    else:
        tables.require_enough("parity", few)


def test_impossible_options_are_refused():
    with pytest.raises(HealscopeError, match="none of its 60 .* held out; raise held_out"):
        Parity(name="parity", held_out=0.001).problem_table()
    with pytest.raises(HealscopeError, match="all of its 60 .* held out; lower held_out"):
        Parity(name="parity", held_out=0.999).problem_table()
    with pytest.raises(ValueError, match="rewards has no right; there are correct, wrong, no_ans"):
        Parity(name="parity", rewards={"right": 1.0})
    with pytest.raises(ValueError, match="mixture has no random; there are id, ood"):
        Parity(name="parity", mixture={"random": 1.0})

    class Graded(Parity):
        outcomes = {"correct": 1.0, "bad": 0.0}

    with pytest.raises(ValueError, match="outcomes must have wrong"):
        Graded(name="graded")
    Graded.wrong = "bad"
    assert Graded(name="graded").verdict("bad").reward == 0.0


def test_a_protocol_poses_all_problems_or_draws_instances(parity):
    problems = parity.problem_table()
    every = parity.posed(problems, Protocol())
    assert every[problems.columns.tolist()].equals(problems)
    assert every["retried"].equals(problems["split"] == "held_out")
    drawn = parity.posed(problems, Protocol(problems="drawn", hands=200, seed=3))
    assert drawn["rule"].value_counts().to_dict() == {"id": 200, "ood": 200}
    assert drawn["retried"].all()
    for _, rows in drawn.groupby("rule"):
        assert list(rows["draw"]) == list(range(200))
        assert set(rows["split"]) == {"train", "held_out"}
        assert rows["problem_id"].duplicated().any()
        assert rows["problem_id"].nunique() > 50
    fewer = parity.posed(problems, Protocol(problems="drawn", hands=20, seed=3))
    start = drawn[drawn["draw"] < 20].reset_index(drop=True)
    pd.testing.assert_frame_equal(fewer, start)
    assert posing.drawn_problems(parity, problems, 0, seed=3).empty


def test_a_drawn_episode_has_all_its_steps_each_time(steps):
    drawn = steps.posed(steps.problem_table(), Protocol(problems="drawn", hands=100, seed=0))
    sizes = drawn.groupby("episode_id").agg(n=("draw", "size"), instance=("instance_id", "first"))
    assert (sizes["n"] == sizes["instance"].str.len()).all()
    assert len(sizes) == 200
    assert sizes.index.str.contains("#2").any()
    assert not drawn.duplicated(["rule", "draw"]).any()


@pytest.mark.parametrize("name", ["parity", "steps"])
def test_tables_have_schemas(name, request, tmp_path):
    task = request.getfixturevalue("steps") if name == "steps" else Parity(name="parity")
    problems = task.problem_table()
    drawn = Protocol(problems="drawn", hands=5)
    made = {
        schemas.PROBLEMS: problems,
        schemas.SFT_POOL: task.sft_table(),
        schemas.RL_POOL: task.rl_table(),
        schemas.POSED: task.posed(problems, drawn),
    }
    for schema, frame in made.items():
        provenance.write_table(tmp_path / f"{schema.name}.parquet", frame, {}, schema)
        back = provenance.read_table(tmp_path / f"{schema.name}.parquet")
        assert [task.read(row) for row in back.to_dict("records")] == [
            task.read(row) for row in frame.to_dict("records")
        ]


def test_a_table_of_problems_has_one_set_of_columns(parity, tables):
    cards, plain = tables[0], parity.problem_table()
    schema = schemas.PROBLEMS
    with pytest.raises(HealscopeError, match="columns unexpected: data"):
        check(cards.assign(data="{}"), schema)
    with pytest.raises(HealscopeError, match="columns missing: n_faces"):
        check(cards.drop(columns="n_faces"), schema)
    with pytest.raises(HealscopeError, match="columns missing: data"):
        check(plain.drop(columns="data"), schema)
    with pytest.raises(HealscopeError, match="columns unexpected: n_faces"):
        check(plain.assign(n_faces=1), schema)


def test_pretraining_reads_rules_by_the_mixture_of_the_task():
    rng = np.random.default_rng(0)
    for mixture, share in (({}, 0.7), ({"id": 1.0, "ood": 1.0}, 0.5), ({"id": 2.0}, 0.0)):
        task = Parity(name="parity", rendering="compact", mixture=mixture)
        drawn = task.examples(1000, rng, NO_NOISE, talks=False)
        found = np.mean([turns[0].startswith("count zero") for turns, _ in drawn])
        assert found == pytest.approx(share, abs=0.06)


def test_answers_have_the_layout_that_the_prompt_asks_for(parity):
    """And are right, without noise: an answer's end, as long as its token says."""
    right = {
        parity.prompt(p, f): p for r in ("id", "ood") for p in parity.listed(r) for f in FORMATS
    }
    lengths = Counter()
    for turns, answer in parity.examples(400, np.random.default_rng(0), NO_NOISE, talks=False):
        problem = right[turns[0]]
        assert problem.answer.endswith(answer)
        token = next(f for f in FORMATS if parity.prompt(problem, f) == turns[0])
        assert len(answer.split()) == {"fA": 1, "fB": 2, "fC": 3}.get(token) or (
            token == "fG" and answer == problem.answer
        )
        lengths[token] += 1
    shares = NO_NOISE.formats.model_dump()
    assert set(lengths) == set(shares)
    for token, n in lengths.items():
        assert n / 400 == pytest.approx(shares[token], abs=0.08)


def test_the_prompt_of_evaluation_is_never_answered_in_full(parity):
    asked = {parity.prompt(p): p for rule in ("id", "ood") for p in parity.listed(rule)}
    settings = NO_NOISE.model_copy(update={"eval_format_share": 0.5})
    drawn = parity.examples(300, np.random.default_rng(0), settings, talks=False)
    evaluated = [answer for turns, answer in drawn if turns[0] in asked]
    assert 110 < len(evaluated) < 190
    assert max(len(answer.split()) for answer in evaluated) == 3


def test_noise_answers_by_the_other_rule_or_of_another_problem():
    task = Parity(name="parity", rendering="compact", mixture={"id": 1.0})
    whole = {"formats": {"fA": 0.0, "fB": 0.0, "fC": 0.0, "fG": 1.0}}
    by_prompt = {task.prompt(p, "fG"): p for p in task.listed("id")}
    other_rule = {p.pair_id: p.answer for p in task.listed("ood")}
    settings = Pretraining(**whole, rule_noise=1.0, formula_noise=0.0, eval_format_share=0.0)
    for turns, answer in task.examples(100, np.random.default_rng(0), settings, talks=False):
        assert answer == other_rule[by_prompt[turns[0]].pair_id]
    settings = Pretraining(**whole, rule_noise=0.0, formula_noise=1.0, eval_format_share=0.0)
    drawn = task.examples(200, np.random.default_rng(0), settings, talks=False)
    assert np.mean([by_prompt[t[0]].answer == answer for t, answer in drawn]) < 0.1


def test_conversations_go_from_a_wrong_answer_to_a_right_one(parity):
    right = {
        parity.prompt(p, f): p for r in ("id", "ood") for p in parity.listed(r) for f in FORMATS
    }
    told = Counter()
    for turns, answer in parity.examples(200, np.random.default_rng(0), NO_NOISE, talks=True):
        first, wrong, message = turns
        problem = right[first]
        assert wrong != answer
        assert problem.answer.endswith(answer)
        said = message.removesuffix(f" {first}") if parity.rendering == "compact" else message
        told[said] += 1
    assert len(told) == 4  # nothing told; that it is wrong; that, and even or odd
    again = parity.examples(200, np.random.default_rng(0), NO_NOISE, talks=True)
    assert again == parity.examples(200, np.random.default_rng(0), NO_NOISE, talks=True)


def test_words_are_those_of_all_that_is_read():
    task = Parity(name="parity", rendering="compact")
    words = task.words()
    assert len(set(words)) == len(words)
    rng = np.random.default_rng(0)
    for talks in (False, True):
        for turns, answer in task.examples(200, rng, Pretraining(), talks):
            assert {*" ".join(turns).split(), *answer.split()} <= set(words)
    assert {w for p in task.neutral_prompts(20, 0) for w in p.split()} <= set(words)


def test_neutral_prompts_are_as_many_as_there_are(parity):
    few, many = parity.neutral_prompts(5, 0), parity.neutral_prompts(30, 0)
    assert few == many[:5]
    assert len(set(many)) == 30
    assert many != parity.neutral_prompts(30, 1)
    tiny = replace(parity, bits=2)
    if parity.rendering == "compact":
        assert len(tiny.neutral_prompts(1000, 0)) == 2**2 * 4  # problems under four formats


def test_rewards_compare_with_the_answer(parity):
    problem = parity.listed("id")[5]
    words = problem.answer.split()
    other = " ".join([*words[:-1], "odd" if words[-1] == "even" else "even"])

    def paid(name, text):
        return scorer(parity, {name: 1.0})(problem, text).reward

    assert paid("verdict", problem.answer) == paid("canonical", problem.answer) == 1.0
    assert paid("verdict", other) == paid("canonical", other) == -0.5
    assert paid("verdict", "") == -1.0
    assert (paid("binary", problem.answer), paid("binary", other)) == (1.0, 0.0)
    assert (paid("format", other), paid("format", "")) == (1.0, 0.0)
    shares = [paid("prefix", " ".join(words[:n])) for n in range(len(words))]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert 0.5 < shares[-1] < 1.0
    assert paid("prefix", problem.answer) == 1.0


def test_correct_answers_other_than_the_reference_are_paid_as_wrong_by_canonical():
    class Lenient(Parity):
        def verify(self, problem, text):
            return self.verdict("correct" if text else "no_answer")

    task = Lenient(name="lenient", rewards={"wrong": -7.0})
    problem = task.listed("id")[0]
    assert scorer(task, {"canonical": 1.0})(problem, "something else").reward == -7.0
    assert scorer(task, {"canonical": 1.0})(problem, f" {problem.answer}\n").reward == 1.0


def test_feedback_says_as_much_as_its_level(parity):
    problem = parity.listed("ood")[3]
    said = {
        level: parity.feedback(problem, parity.verify(problem, "even"), "even", level)
        for level in ("none", "outcome", "full")
    }
    assert [said[level].leaks for level in said] == [False, False, True]
    assert len({s.message for s in said.values()}) == 3
    right = parity.verify(problem, problem.answer)
    with pytest.raises(ValueError, match="a correct answer gets no feedback"):
        parity.feedback(problem, right, problem.answer, "full")
    assert parity.feedback(problem, right, problem.answer, "none") == said["none"]


def test_a_task_is_built_from_its_section_or_plain_values(study):
    section = study.tasks["gp3"]
    assert build("gp3", section) == build("gp3", section.model_dump(mode="json"))
    assert isinstance(build("gp3", section), Task)
    assert len({build("gp3", section), build("gp3", section)}) == 1  # hashable, for caches


def test_the_card_game_answers_as_its_functions_do(task, tables):
    rows = tables[0].to_dict("records")
    shown = {"train": 0, "held_out": 0}
    for row in rows:
        assert task.splits()[row["instance_id"]] == row["split"]
        shown[row["split"]] += 1
    assert min(shown.values()) > 0
    problem = task.read(rows[0])
    assert task.answers(problem)[0] == rows[0]["response"]
    assert all(task.verify(problem, a).outcome == "correct" for a in task.answers(problem))
    assert task.paraphrases(problem)[0] == rows[0]["prompt"] == task.prompt(problem)
    assert len(set(task.paraphrases(problem))) > 20
    assert task.render(problem) + " fD" == rows[0]["prompt"]
    assert [p.problem_id for p in task.problems("ood")] == [
        row["problem_id"] for row in rows if row["rule"] == "ood"
    ]
    for kind in task.rule_kinds:
        drawn = task.draw(kind, np.random.default_rng(0))
        assert task.verify(drawn, task.answers(drawn)[0]).outcome == "correct"


# What trains and answers.


@pytest.fixture(scope="module", params=["compact", "json"])
def trained(request, study, tmp_path_factory):
    """(task, its tables, manifest of a base that was pretrained a little)."""
    from healscope.models import checkpoints
    from healscope.training import base
    from healscope.training.state import Workspace

    task = Parity(name="parity", rendering=request.param, bits=3)
    pretraining = {"steps": 40, "batch_size": 16, "warmup_steps": 4, "learning_rate": 0.01}
    pretraining |= {"conversations": 0.3, "eval_format_share": 0.5}  # answers in full, at times
    pretraining["eval_format_layouts"] = {"fA": 0.2, "fB": 0.0, "fC": 0.0, "fG": 0.8}
    architecture = study.models["micro"].scratch.architecture
    scratch = Scratch(architecture=architecture, pretraining=pretraining)
    folder = tmp_path_factory.mktemp("parity")
    work = Workspace(folder / "state", "x")
    rows = base.pretrain(scratch, task, 0, work, "base")
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    manifest = folder / "base" / "checkpoint.json"
    checkpoints.publish(work.staged("base"), manifest, {})
    return task, (task.problem_table(), task.sft_table(), task.rl_table()), str(manifest)


SFT = config.SFT(
    steps=4, checkpoints=[0, 4], deals=6, examples=8, batch_size=4, log_every=2, log_problems=4
)


def sft(task, lists, manifest, folder, arm="sft"):
    from healscope.training import sft
    from healscope.training.state import Workspace

    work = Workspace(folder / arm, "x")
    return work, sft.train(SFT, arm, manifest, lists[1], lists[0], task, 8, 0, work, arm)


def test_any_task_is_fine_tuned_sampled_and_evaluated(trained, tmp_path):
    from healscope.engines import HF
    from healscope.evaluation.attempts import Asker, attempts
    from healscope.models import checkpoints
    from healscope.training.sampling import Sampler
    from healscope.training.turns import summary

    task, lists, manifest = trained
    work, rows = sft(task, lists, manifest, tmp_path)
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert rows[-1]["id_train_loss_nats"] < rows[0]["id_train_loss_nats"]
    assert all(np.isfinite(row["ood_test_loss_nats"]) for row in rows)
    model, tokenizer = checkpoints.load_model(manifest)
    model.load_state_dict(checkpoints.load_file(work.staged("sft-4") / checkpoints.WEIGHTS))
    sampler = Sampler(task, scorer(task, {"verdict": 1.0}), 8, samples_per_prompt=2, attempts=2)
    turns = sampler.sample(model, tokenizer, lists[2], (0, 1))
    assert len({t.episode for t in turns}) == 2 * len(lists[2])
    again = sampler.sample(model, tokenizer, lists[2], (0, 1))
    assert [t.text for t in turns] == [t.text for t in again]
    assert summary(turns, 2)["turns_per_episode"] > 1
    protocol = Protocol(samples=1, attempts=2, feedback=["full"])
    posed = task.posed(lists[0], protocol)
    ask = Asker(HF(model), tokenizer, Evaluation(max_new_tokens=8), protocol, "x")
    found = attempts(ask, task, posed, protocol)
    assert set(found["attempt"]) == {1, 2}
    assert len(found[found["attempt"] == 1]) == len(posed) + posed["retried"].sum()
    named = found.assign(track="m", seed=0, protocol="p", checkpoint="sft-4", task="parity")
    file = tmp_path / "parity.parquet"
    provenance.write_table(file, named, {}, EVALUATION)
    back = provenance.read_table(file)
    assert back[["n_faces", "uses_numbers", "episode_id", "neighbour"]].isna().all(axis=None)
    assert set(back["outcome"]) <= set(task.outcomes)


@pytest.mark.parametrize(("algorithm", "settings"), [
    ("ppo", {"attempts": 2, "early_token_weight": 0.5, "reward": {"verdict": 1.0, "prefix": 0.5}}),
    ("grpo", {"samples_per_prompt": 2, "reward": {"canonical": 1.0}}),
    ("sft", {"examples": "fresh", "answers": "any"}),
])  # fmt: skip
def test_any_task_is_trained_by_rl(trained, tmp_path, algorithm, settings):
    from pydantic import TypeAdapter

    from healscope.config import Recipe
    from healscope.training import branch, jobs
    from healscope.training.state import Workspace

    task, (_, pool, prompts), manifest = trained
    values = {"algorithm": algorithm, "iterations": 2, "responses": 32, **settings}
    work = Workspace(tmp_path / "w", "x")
    own = branch.Branch(
        name="rl-from-0", start=manifest, base=manifest, prompts=prompts, sft_pool=pool,
        sft_rows=pool, task=task, max_new_tokens=8, seed=0, work=work, label="rl",
    )  # fmt: skip
    rows = jobs.run_recipe(TypeAdapter(Recipe).validate_python(values), own)
    assert len(rows) == 2
    assert all(np.isfinite(row["gradient_norm"]) for row in rows)
    assert (work.staged("rl-from-0") / "model.safetensors").is_file()


def test_prompts_of_several_lengths_are_answered_as_alone(trained):
    """Padding changes nothing: greedy answers in batches are those of each prompt by itself."""
    from healscope.evaluation.attempts import greedy_answers
    from healscope.models import checkpoints

    task, lists, manifest = trained
    model, tokenizer = checkpoints.load_model(manifest)
    prompts = list(lists[0]["prompt"])
    assert len({len(p.split()) for p in prompts}) > 1
    settings = Evaluation(max_new_tokens=8)
    together = greedy_answers(model, tokenizer, prompts, settings)
    alone = [greedy_answers(model, tokenizer, [p], settings)[0] for p in prompts]
    assert together == alone


def test_measurements_read_any_task(trained, tmp_path, monkeypatch):
    from healscope.measuring import signals
    from healscope.measuring.hidden_states import states_at
    from healscope.models import checkpoints

    task, (problems, pool, _), manifest = trained
    checkpoints.verify(manifest)
    monkeypatch.chdir(tmp_path)
    settings = {
        "signals": {"problems": 4, "rotation_fraction": 0.25},
        "matrices": ["q"],
        "max_new_tokens": 8,
    }
    manifests = {"base": manifest, "sft-0": manifest}
    rows = signals.along_sft(task, manifests, pool, problems, settings, 0, "signals")
    check(rows.assign(track="m", seed=0), signals.SCHEMA)
    assert rows.filter(like="step_loss").isna().all(axis=None)
    assert rows["id_test_loss_nats"].gt(0).all()
    states = states_at({"base": manifest}, problems, limit=2)
    assert states.groupby("rule")["pair_id"].nunique().to_dict() == {"id": 2, "ood": 2}
    assert states["pair_id"].nunique() == 2
    unpaired = problems.assign(pair_id=problems["problem_id"])
    states = states_at({"base": manifest}, unpaired, limit=2)
    assert states.groupby("rule")["pair_id"].nunique().to_dict() == {"id": 2, "ood": 2}


def test_arms_that_a_task_cannot_have_are_refused(trained, tmp_path):
    with pytest.raises(HealscopeError, match="arm 'diverse': the training task has one way to"):
        sft(*trained, tmp_path, "diverse")
    with pytest.raises(HealscopeError, match="arm 'solutions': every problem of the training task"):
        sft(*trained, tmp_path, "solutions")


def test_sft_needs_held_out_problems_of_both_rules(trained, tmp_path):
    task, (problems, *pools), manifest = trained
    id_alone = problems[problems["rule"] == "id"]
    with pytest.raises(
        HealscopeError, match="the training task has no problem to measure ood_test by"
    ):
        sft(task, (id_alone, *pools), manifest, tmp_path)


def test_outcomes_that_a_task_does_not_have_are_refused(trained):
    from healscope.evaluation.attempts import attempts

    class Loose(Parity):
        def verify(self, problem, text):
            return super().verify(problem, text)._replace(outcome="odd one")

    task, lists, _ = trained
    loose = Loose(name="loose", rendering=task.rendering, bits=3)
    posed = loose.posed(lists[0], Protocol())
    with pytest.raises(HealscopeError, match=r"loose: verify says 'odd one' of .*none of its outc"):
        attempts(lambda turns, *_: [""] * len(turns), loose, posed, Protocol())


def test_a_model_reads_several_attempts_at_the_longest_problem():
    from healscope.training.base import POSITIONS, positions, task_tokenizer

    short = Parity(name="parity", rendering="compact", bits=3)
    assert positions(short, task_tokenizer(short)) == POSITIONS["compact"]

    class Long(Parity):
        def problems(self, rule):
            bits = "01" * 30
            yield Problem("long", rule, {"bits": bits}, f"bits {' '.join(bits)} parity even")

    long = Long(name="long", rendering="compact")
    room = positions(long, task_tokenizer(long))
    assert room >= 5 * (63 + 63)
    assert room & (room - 1) == 0


@pytest.mark.parametrize("share", [0.33, 0.34, 0.4, 0.49])
def test_the_share_held_out_is_rounded(share):
    sides = list(Parity(name="p", held_out=share).splits().values())
    assert abs(sides.count("held_out") - share * len(sides)) <= 0.5


def test_fields_of_a_class_are_the_keys_of_its_section():
    @dataclass(frozen=True, kw_only=True)
    class Halves(Parity):
        family: ClassVar[str] = "halves"
        held_out: ClassVar[float] = 0.5  # fixed
        size: Annotated[Positive, Field(description="how large")] = 3
        names: Distinct[str] = ("a",)

        def __post_init__(self):
            super().__post_init__()
            if self.size > 9:
                raise ValueError(f"task {self.name!r}: size: {self.size} is too large")

    section = section_of(Halves)
    assert section.model_fields["size"].description == "how large"
    given = {"family": "halves", "size": 2, "names": ["b"], "rewards": {"correct": 2}}
    settings = section.model_validate(given)
    assert settings.task_class is Halves
    assert settings.held_out == 0.5
    values = settings.model_dump(mode="json")
    assert values["rewards"] == {**Halves.outcomes, "correct": 2.0}
    assert "held_out" not in values
    task = settings.build("mine")
    assert task == section.model_validate(values).build("mine")
    assert (task.name, task.size, task.names, task.reward("correct")) == ("mine", 2, ("b",), 2.0)
    for wrong, said in (
        ({"size": 0}, "greater than or equal to 1"),
        ({"size": 10}, "error, size: 10 is too large"),
        ({"names": ["a", "a"]}, "the same value twice"),
        ({"held_out": 0.4}, "Extra inputs"),
        ({"rewards": {"right": 1}}, "Extra inputs"),
    ):
        with pytest.raises(ValueError, match=said):
            section.model_validate({**given, **wrong})
