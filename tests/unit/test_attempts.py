"""Attempts follow the protocol: who is asked again, what they see, and what is recorded."""

import re

import pytest

from healscope.config import Evaluation, Protocol
from healscope.engines import HF
from healscope.errors import HealscopeError
from healscope.evaluation.attempts import Asker, attempts, format_error_rate, require_room
from healscope.models import tokens
from healscope.tasks import posing
from healscope.tasks.problem import Option

FIRST = {"sample": 0, "attempt": 1}


@pytest.fixture
def posed(tables):
    return posing.all_problems(tables[0])


def where(rows, **values):
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def answers(problems, right_at):
    """An `ask` that gives the reference answer at attempt `right_at` and nonsense before."""
    reference = dict(zip(problems["prompt"], problems["response"], strict=True))
    seen = []

    def ask(conversations, purpose, temperature):
        seen.append((purpose, temperature, conversations))
        return [
            reference[turns[0]] if (len(turns) + 1) // 2 >= right_at else "nonsense"
            for turns in conversations
        ]

    ask.seen = seen
    return ask


def test_reference_answers_are_judged_correct(task, posed):
    rows = attempts(answers(posed, 1), task, posed, Protocol())
    assert len(rows) == len(posed)
    assert rows["correct"].all()
    assert rows[["parsed", "follows_rule", "uses_numbers", "reaches_target"]].all(axis=None)
    empty = attempts(lambda turns, *_: [""] * len(turns), task, posed, Protocol())
    assert not empty["correct"].any()
    assert set(empty["outcome"]) == {"no_answer"}


def test_failed_problems_are_retried_in_one_conversation_a_level(task, posed):
    protocol = Protocol(attempts=4, feedback=["none", "full"])
    ask = answers(posed, right_at=3)
    rows = attempts(ask, task, posed, protocol)
    retried = posed["retried"].sum()
    assert 0 < retried < len(posed)
    assert len(where(rows, **FIRST)) == len(posed)
    for level in ("none", "full"):
        told = where(rows, feedback=level)
        assert list(told.groupby("attempt").size()) == [retried, retried]  # 2 fails, 3 succeeds
        assert not where(told, attempt=2)["correct"].any()
        assert where(told, attempt=3)["correct"].all()
    last = ask.seen[-1][2]
    assert {len(turns) for turns in last} == {5}
    assert {turns[1] for turns in last} == {"nonsense"}


def test_a_right_first_attempt_is_not_asked_again(task, posed):
    protocol = Protocol(attempts=5, feedback=["outcome"], samples=2)
    rows = attempts(answers(posed, right_at=1), task, posed, protocol)
    assert rows["attempt"].max() == 1
    assert list(rows.groupby("sample").size()) == [
        len(posed), posed["retried"].sum(), posed["retried"].sum()
    ]  # fmt: skip


def test_samples_have_their_own_temperature(task, posed):
    ask = answers(posed, 1)
    attempts(ask, task, posed, Protocol(samples=1, sample_temperature=0.7))
    assert [(purpose, t) for purpose, t, _ in ask.seen] == [("first", 0.0), ("sample 1", 0.7)]


def test_feedback_that_names_a_rule_value_is_marked(task, posed):
    """What a face card counts as is told where the deal has one that the answer does not use."""
    of_kind = posed[posed["rule"] == "ood"].groupby(posed["n_faces"] > 0)
    ood = of_kind.head(3).assign(retried=True)
    protocol = Protocol(attempts=2, feedback=["none", "full"])
    ones = re.compile(r"(number) .* (formula) .* (= \d+)")  # takes every card for an ace
    wrong = {
        row.prompt: ones.sub(r"\1 1 1 1 \2 ( 1 + 1 ) + 1 \3", row.response)
        for row in ood.itertuples()
    }
    rows = attempts(lambda turns, *_: [wrong[t[0]] for t in turns], task, ood, protocol)
    assert not where(rows, feedback="none")["told_rule"].any()
    assert not where(rows, **FIRST)["told_rule"].any()
    told = where(rows, feedback="full")
    assert list(told["told_rule"]) == list(told["n_faces"] > 0)
    assert set(told["told_rule"]) == {True, False}


def test_neighbours_are_asked_once_and_carry_what_differs(task, study):
    protocol = study.evaluation.protocols["near"]
    posed = task.posed(None, protocol)
    rows = attempts(answers(posed, 1), task, posed, protocol)
    assert rows["correct"].all()
    assert set(rows["attempt"]) == {1}
    for column in ("neighbour", "distance", "problem_id", "half"):
        assert list(rows[column]) == list(posed[column])


def test_an_answer_that_would_be_cut_short_is_refused(task, study, model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    posed = task.posed(None, study.evaluation.protocols["near"])
    require_room(tokenizer, task, posed, Evaluation(max_new_tokens=24))
    with pytest.raises(HealscopeError, match=r"max_new_tokens is 23, but a correct answer has 24"):
        require_room(tokenizer, task, posed, Evaluation(max_new_tokens=23))
    require_room(tokenizer, task, posed.iloc[:0], Evaluation(max_new_tokens=1))


def test_a_prompt_beyond_the_context_is_refused_and_a_conversation_ends(
    task, posed, model_and_tokenizer
):
    model, tokenizer = model_and_tokenizer
    settings = Evaluation(batch_size=64, max_new_tokens=8)
    some = posed[posed["retried"]].head(4)
    longest = max(len(tokens.prompt_ids(tokenizer, p)) for p in some["prompt"])
    protocol = Protocol(attempts=2, feedback=["none"])
    before = model.config.max_position_embeddings
    try:
        model.config.max_position_embeddings = longest + 8  # room for a first answer, no more
        ask = Asker(HF(model), tokenizer, settings, protocol, "")
        rows = attempts(ask, task, some, protocol)
        assert set(rows["attempt"]) == {1}
        model.config.max_position_embeddings = longest
        with pytest.raises(HealscopeError, match="longer than the model's context"):
            attempts(ask, task, some, protocol)
    finally:
        model.config.max_position_embeddings = before


def test_conversations_hold_the_model_s_own_ids(model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    prompt, answer = "J 10 Q 10 K 10 24 A 2 3 fD", "cards A 2 3"
    ids = tokens.conversation_ids(tokenizer, [prompt, answer, prompt])
    start = tokens.prompt_ids(tokenizer, prompt)
    assert ids == [*start, *tokens.response_ids(tokenizer, answer), *start[1:]]


def test_sampled_attempts_repeat_by_seed(task, posed, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    settings = Evaluation(batch_size=16, max_new_tokens=8)
    some = posed[posed["retried"]].head(8)
    protocol = Protocol(samples=2, attempts=2, feedback=["full"], temperature=1.0, top_p=0.9)

    def texts(stream):
        ask = Asker(HF(model), tokenizer, settings, protocol, stream)
        rows = attempts(ask, task, some, protocol)
        return list(rows["text"])

    assert texts("a") == texts("a")
    assert texts("a") != texts("b")


def test_each_sample_has_draws_of_its_own(task, posed, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    settings = Evaluation(batch_size=16, max_new_tokens=8)
    protocol = Protocol(samples=3, sample_temperature=1.0)
    ask = Asker(HF(model), tokenizer, settings, protocol, "a")
    rows = attempts(ask, task, posed[posed["retried"]].head(4), protocol)
    texts = {tuple(where(rows, sample=sample)["text"]) for sample in (1, 2, 3)}
    assert len(texts) == 3


def test_the_smallest_nucleus_is_the_greedy_answer(posed, model_and_tokenizer):
    """The likeliest token alone holds `top_p`, so that sampling has no choice."""
    model, tokenizer = model_and_tokenizer
    settings = Evaluation(batch_size=16, max_new_tokens=8)
    prompts = [[p] for p in posed["prompt"].head(8)]

    def texts(temperature, top_p):
        ask = Asker(HF(model), tokenizer, settings, Protocol(top_p=top_p), "")
        return ask(prompts, "first", temperature)

    assert texts(1.0, 1e-6) == texts(0.0, 1.0)
    assert texts(1.0, 1.0) != texts(0.0, 1.0)


def test_scores_of_options_are_the_engine_s_and_none_where_one_is_too_long(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    words = [w for w in tokenizer.get_vocab() if w.isalnum()][:6]
    long = " ".join(words[:1] * model.config.max_position_embeddings)
    options = [
        [Option(words[0], " ", words[1]), Option(words[0], " ", f"{words[2]} {words[3]}")],
        [Option(words[0], " ", words[1]), Option(long, " ", words[1])],
        [Option(words[4], " ", words[5])],
    ]
    found = Asker(HF(model), tokenizer, Evaluation(), Protocol(), "").scores(options)
    assert found[1] is None
    for given, scores in ((options[0], found[0]), (options[2], found[2])):
        pairs = [tokens.option_ids(tokenizer, *option) for option in given]
        expected = HF(model).scores(pairs, pad=tokenizer.pad_token_id, batch_size=1)
        assert [s.logprob for s in scores] == pytest.approx([t for t, _ in expected], abs=1e-4)
        assert [s.likeliest for s in scores] == [hit for _, hit in expected]
        assert [s.tokens for s in scores] == [len(text) for _, text in pairs]


def test_the_share_of_answers_that_do_not_parse(task, posed, model_and_tokenizer, monkeypatch):
    """All of an untrained model's; a quarter of those that are the reference but for every
    fourth, which is longer than the model's context."""
    few = posed.head(8)
    assert format_error_rate(*model_and_tokenizer, task, few, max_new_tokens=8) == 1
    answers = [r if i % 4 else None for i, r in enumerate(few["response"])]
    monkeypatch.setattr("healscope.evaluation.attempts.greedy_answers", lambda *_: answers)
    assert format_error_rate(*model_and_tokenizer, task, few, max_new_tokens=8) == 0.25
