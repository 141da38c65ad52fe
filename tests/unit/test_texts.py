"""Texts as keepers: their passages, what models that are known say of them, and what is lost."""

import copy
import math

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from healscope.config import Evaluation, Protocol, Statistics
from healscope.engines import HF, options
from healscope.errors import HealscopeError
from healscope.evaluation.attempts import Asker, attempts
from healscope.evaluation.schemas import EVALUATION
from healscope.findings import measures
from healscope.models import tokens
from healscope.schema import IN_NATS, check
from healscope.tasks import build, task_settings
from healscope.tasks.data.texts import passages
from healscope.verdicts import FAILED, HELD, MARGIN, negative

SETTINGS = Statistics(resamples=400)
SEA = [
    f"the sea is {a} and the ship is {b}" for a in ("calm", "wide", "grey") for b in ("old", "lost")
]
SUMS = [f"{a} plus {b} makes {a + b}" for a in range(4) for b in range(3, 6)]


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.text_tokenizer([*SEA, *SUMS], 400)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return trained(LlamaForCausalLM(config), tokenizer, SEA, 10)


def trained(model, tokenizer, texts, steps):
    """A copy of a model after so many steps on texts."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    rows = [[tokenizer.bos_token_id, *tokenizer.encode(text)] for text in texts]
    ids, mask, *_ = tokens.encode_ids([[]] * len(rows), rows, tokenizer.pad_token_id)
    labels = ids.masked_fill(~mask, -100)
    for _ in range(steps):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "sea.txt"
    file.write_text("\n\n".join(SEA))
    return build("sea", {"family": "text", "file": str(file), "characters": 40})


def asked(text, model, tokenizer, **settings):
    """Answers of a model to the passages, as rows of an evaluation."""
    posed = text.posed(text.problem_table(), Protocol())
    ask = Asker(HF(model), tokenizer, Evaluation(**settings), Protocol(), "", text.chat_template)
    return attempts(ask, text, posed, Protocol()).assign(seed=0)


def by_hand(model, tokenizer, passage):
    """Cross-entropy of a passage after the first token, summed, and the number of its tokens."""
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(passage)]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, :-1]
    return float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")), len(
        logits
    )


def test_every_passage_has_the_cross_entropy_of_its_tokens(text, model, tokenizer):
    rows = asked(text, model, tokenizer, batch_size=4)
    assert len(rows) == len(SEA)
    for row, passage in zip(rows.to_dict("records"), SEA, strict=True):
        nats, counted = by_hand(model, tokenizer, passage)
        assert (row["logprob"], row["tokens"]) == (pytest.approx(-nats, abs=1e-4), counted)
        assert (row["outcome"], row["correct"], row["score"]) == ("measured", False, None)
    found = measures.level(rows, SETTINGS)
    whole = [by_hand(model, tokenizer, passage) for passage in SEA]
    assert found.unit == IN_NATS
    assert -found.value == pytest.approx(sum(n for n, _ in whole) / sum(t for _, t in whole))
    assert found.low < found.value < found.high < 0
    named = rows.assign(protocol="exhaustive", checkpoint="sft-0", task="sea", track="m", twin=None)
    check(named.assign(**dict.fromkeys(("neighbour", "distance"))), EVALUATION)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(text, model, tokenizer):
    ignorant = copy.deepcopy(model)
    with torch.no_grad():
        ignorant.get_output_embeddings().weight.zero_()
    found = measures.level(asked(text, ignorant, tokenizer), SETTINGS)
    assert math.exp(-found.value) == pytest.approx(len(tokenizer))
    assert found.high - found.low == pytest.approx(0, abs=1e-6)


def test_what_is_held_at_a_time_changes_nothing(text, model, tokenizer, monkeypatch):
    expected = asked(text, model, tokenizer)
    monkeypatch.setattr(options, "HELD", 3 * len(tokenizer))
    monkeypatch.setattr(options, "READ", 40)
    found = asked(text, model, tokenizer)
    assert list(found["tokens"]) == list(expected["tokens"])
    assert list(found["logprob"]) == pytest.approx(list(expected["logprob"]), abs=1e-5)


def test_training_on_other_text_loses_and_the_same_weights_lose_exactly_nothing(
    text, model, tokenizer
):
    base = asked(text, model, tokenizer)

    def change(other):
        return measures.change(measures.paired(base, asked(text, other, tokenizer)), SETTINGS)

    same = change(copy.deepcopy(model))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert negative(same) not in (HELD, "seen in each of these seeds")
    worse = change(trained(model, tokenizer, SUMS, 10))
    assert worse.high < -MARGIN
    better = change(trained(model, tokenizer, SEA, 10))
    assert better.low > MARGIN
    assert worse.value == pytest.approx(sum(worse.by_seed.values()))


def test_changes_count_tokens_and_are_judged_by_their_interval():
    """Of three seeds; a long passage weighs as many tokens as it has."""

    def rows(*logprobs):
        return pd.DataFrame(
            [
                {"seed": seed, "problem_id": str(i), "draw": i, "sample": 0, "instance_id": str(i),
                 "half": "ab"[i % 2], "retried": False, "correct": False, "logprob": logprob,
                 "tokens": size}
                for seed in range(3)
                for i, (logprob, size) in enumerate(zip(logprobs, (10, 30, 20, 20), strict=True))
            ]
        )  # fmt: skip

    before, after = rows(-20, -90, -50, -44), rows(-25, -102, -59, -53)
    assert measures.level(before, SETTINGS).value == pytest.approx(-204 / 80)
    fall = measures.change(measures.paired(before, after), SETTINGS)
    assert fall.value == pytest.approx(-35 / 80)
    assert fall.high < -0.3
    assert negative(fall) == HELD
    assert fall.p_below(0) < 0.01  # and not what so few problems could say of a share
    still = measures.change(measures.paired(before, before), SETTINGS)
    assert negative(still) == FAILED
    assert measures.can_lose(before)


def test_passages_are_whole_paragraphs_with_their_lines():
    text = "one\ntwo\r\n\r\nthree\n \n\nfour five six seven\n\nabcdefghijkl"
    assert list(passages(text, 12)) == [
        (1, "one\ntwo"), (4, "three"), (7, "four five"), (7, "six seven"), (9, "abcdefghijkl"),
    ]  # fmt: skip
    assert list(passages(text, 14))[0] == (1, "one\ntwo\n\nthree")
    assert list(passages("abcdefgh", 3)) == [(1, "abc"), (1, "def"), (1, "gh")]
    assert list(passages("a\nbcdef\ng", 5)) == [(1, "a"), (2, "bcdef"), (3, "g")]
    assert list(passages(" \n\n", 5)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" \n\n\t\n", "has no text"),
        (b"fine\n\nbroken \xff\n", "line 3: byte 0xff is not UTF-8"),
        (b"one passage\n\nalone", "is one passage of at most 1000 characters"),
        (None, "is not there, seen from"),
    ],
)
def test_a_text_that_cannot_be_measured_is_refused_in_a_sentence(content, said, tmp_path):
    file = tmp_path / "notes.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(HealscopeError, match=said):
        task_settings({"family": "text", "file": str(file)})


def test_a_text_that_has_changed_is_noticed(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("a\n\n" * 900)
    section = task_settings({"family": "text", "file": str(file), "limit": 2})
    assert len(build("notes", section).problem_table()) == 2
    file.write_text("b\n\n" * 900)
    with pytest.raises(HealscopeError, match=r"hash: .*notes.txt is not what it was when the run"):
        task_settings(section.model_dump(mode="json"))


def test_a_passage_beyond_the_context_is_refused(tmp_path, model, tokenizer):
    file = tmp_path / "long.txt"
    file.write_text("word " * 300 + "\n\n" + "word")
    long = build("long", {"family": "text", "file": str(file)})
    with pytest.raises(
        HealscopeError, match=r"task long: .* of a text, fewer characters a passage"
    ):
        asked(long, model, tokenizer)
