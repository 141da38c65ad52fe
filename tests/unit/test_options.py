"""Answers that are chosen: probabilities of given texts, and the tokens that they are asked as."""

import pytest
import torch

from healscope.engines import HF
from healscope.engines.generate import NotFinite
from healscope.models import tokens


def alone(model, prompt: list[int], text: list[int]) -> tuple[float, bool]:
    """Sum of the log-probabilities of a text, by one plain forward pass."""
    logps = torch.log_softmax(model(torch.tensor([prompt + text])).logits[0].float(), -1)
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    total = sum(float(logps[i, t]) for i, t in zip(places, text, strict=True))
    return total, all(int(logps[i].argmax()) == t for i, t in zip(places, text, strict=True))


@torch.no_grad()
def test_scores_are_those_of_one_pass_for_each(model_and_tokenizer):
    """Of any lengths in any order; texts that differ in a token, an empty one, the likeliest."""
    model, tokenizer = model_and_tokenizer
    generator = torch.Generator().manual_seed(0)

    def some(n: int) -> list[int]:
        return torch.randint(4, len(tokenizer), (n,), generator=generator).tolist()

    pairs = [(some(n), some(m)) for n, m in ((9, 1), (3, 4), (5, 2), (9, 3), (1, 1))]
    shared, start = some(6), some(2)
    pairs += [(shared, [*start, last]) for last in some(4)] + [(shared, [])]
    likeliest = HF(model).generate([shared], eos=-1, pad=0, max_new_tokens=4).ids()[0]
    pairs += [(shared, likeliest), (shared, [*likeliest[:-1], (likeliest[-1] + 1) % 9])]
    for batch_size in (1, 3, 100):
        found = HF(model).scores(pairs, pad=0, batch_size=batch_size)
        for (total, hit), pair in zip(found, pairs, strict=True):
            expected, expected_hit = alone(model, *pair)
            assert total == pytest.approx(expected, abs=1e-4)
            assert hit == expected_hit
        assert found[9] == (0.0, True)
        assert [hit for _, hit in found[-2:]] == [True, False]


def test_a_model_that_has_overflowed_is_named(model_and_tokenizer):
    model, _ = model_and_tokenizer
    with torch.no_grad():
        next(model.parameters()).fill_(torch.inf)
    with pytest.raises(NotFinite):
        HF(model).scores([([5], [6])], pad=0, batch_size=1)


def texts() -> list[str]:
    return ["What is two and two? Answer: four", "Answer: five or six"]


def test_options_are_asked_as_one_text_with_the_prompt():
    tokenizer = tokens.text_tokenizer(texts() * 20)
    for prompt, delimiter in (("Answer:", " "), ("Answer: ", ""), ("", " ")):
        before, after = tokens.option_ids(tokenizer, prompt, delimiter, "four")
        assert before == [tokenizer.bos_token_id, *tokenizer.encode(prompt.rstrip())]
        assert tokenizer.decode(after) == " four"
        assert tokenizer.encode(" four") == after  # the space goes with the word, as in training


def test_a_chat_template_needs_no_delimiter():
    tokenizer = tokens.text_tokenizer(texts() * 20)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<eos>{% endfor %}? "
    before, after = tokens.option_ids(tokenizer, "Answer:", "~", "four")
    assert before + tokenizer.encode(" ") == tokens.prompt_ids(tokenizer, "Answer:")
    assert after == tokenizer.encode(" four")  # the template's last space
    plain = tokens.option_ids(tokenizer, "Answer:", "~", "four", templated=False)
    assert tokenizer.decode(plain[1]) == "~four"


def test_without_a_first_token_the_last_one_stands_before_an_empty_prompt():
    tokenizer = tokens.text_tokenizer(texts())
    tokenizer.bos_token = None
    before, after = tokens.option_ids(tokenizer, "", "", "four")
    assert before == [tokenizer.eos_token_id]
    assert after == tokenizer.encode("four")


def test_a_template_that_writes_the_date_asks_the_same_on_every_day():
    tokenizer = tokens.text_tokenizer(texts())
    tokenizer.chat_template = (
        "{{ strftime_now('%d %b %Y') }}{% for m in messages %}, {{ m.content }}{% endfor %}"
    )
    assert tokens.prompt_text(tokenizer, "two") == "26 Jul 2024, two"
