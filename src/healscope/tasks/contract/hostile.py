"""Make hostile texts that any verifier must judge without raising.

All of it is drawn from a seed, and fits any task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random

from healscope.tasks.problem import FORMATS
from healscope.tasks.responses import MAX_RESPONSE

LETTERS = "{}[]()\"':,.+-*/= \t\n0123456789eE_\\\x00×÷−٨½²ü\u200b\u202e\ud800\U0001f0cf"
SCALARS = (None, True, 0, -1, 1.5, 1e300, "", "0", "²", "٣", "a", "\ud800", [], {}, [None], [[]])
NEEDLES = (
    *("[", "{", "(", "((", '{"a":', '[{"a":', '"', "\\", "\\u", "9", "-", "1 ", "a ", "\n"),
    *("<think>", "</think>", "```json\n", "/*", '{"a":[1 ', "{'"),
)
RUBBISH = (
    *("", " ", "\n", "\x00", "\x00" * 50, "\ufeff", "\ud800", "\u202eabc", "ü" * 300, "🂡" * 300),
    *('"', "'", "\\", "{", "}", "[", "{}{}", "[[[]]]", '{"": ""}', '{"a": "b", "a": {}}', "---"),
    *("7" * 4_400, "." * 5_000, "٣" * 5_000, "```json\n{}\n```", "%s %d {} {x}", "<|endoftext|>"),
)
"""What is correct of no problem."""
FIXED = (
    *RUBBISH,
    *("NaN", "Infinity", "-0", "1e9999", "-1", "0x10", "1_000", "²", "٣", "½", "Ⅷ", "一", "১২"),
    *("null", "true", "{}", "[]", "{'a': 1}", '{"a": NaN}', '{"a": 1e9999}'),
    *("again", "wrong", *FORMATS, "I am sorry, I cannot do that."),
    *('{"answer": ' + "7" * 4_400 + "}", "7 " * 2_000),
)
"""Among them numbers of more digits than `int` reads, and digits that are none to `int`."""
HUGE = 1_000_000


def texts(seed: int, n: int = 120) -> Iterator[str]:
    """FIXED ones, nested and huge ones, and `n` random ones of several kinds."""
    rng = Random(seed)
    yield from FIXED
    for needle in NEEDLES:
        yield needle * (MAX_RESPONSE // len(needle))
        yield needle * (HUGE // len(needle))
    for i in range(n):
        if i % 3 == 0:
            yield rng.randbytes(rng.randrange(400)).decode("utf-8", "replace")
        elif i % 3 == 1:
            yield "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(200)))
        else:
            yield "".join(rng.choices(LETTERS, k=rng.randrange(300)))


def mutations(answer: str, others: Sequence[str], seed: int, n: int = 60) -> Iterator[str]:
    """Yield texts near a correct answer: cut off, doubled, in other spaces; characters or words
    replaced, dropped and swapped; where it is JSON, other values in their places."""
    rng = Random(seed)
    for end in sorted({rng.randrange(len(answer) + 1) for _ in range(12)}):
        yield answer[:end]
        yield answer[end:]
    yield from (answer * 2, f"{answer} {answer}", answer * 500, answer.upper(), f"\n\t{answer}\n")
    yield from (answer.replace('"', "'"), f"```json\n{answer}\n```", f"the answer is {answer}.")
    yield answer.translate({ord("0") + i: 0x660 + i for i in range(10)})  # Arabic digits
    yield answer.translate({ord("0") + i: "⁰¹²³⁴⁵⁶⁷⁸⁹"[i] for i in range(10)})
    for _ in range(n):
        separator = rng.choice(("", " "))
        parts = answer.split(" ") if separator else list(answer)
        for _ in range(rng.randrange(1, 4)):
            _change(parts, separator, others, rng)
        yield separator.join(parts)
    yield from _other_values(answer)


def _change(parts: list[str], separator: str, others: Sequence[str], rng: Random) -> None:
    at, other = (rng.randrange(len(parts)) if parts else 0 for _ in range(2))
    change = rng.randrange(4) if parts else 1
    if change == 0:
        del parts[at]
    elif change == 1:
        words = " ".join(others).split() if separator else LETTERS
        parts.insert(at, rng.choice(words or ["a"]))
    elif change == 2:
        parts[at], parts[other] = parts[other], parts[at]
    else:
        most = 1 + MAX_RESPONSE // max(1, len(parts[at]))  # or 5,000 times 5,000 times 5,000
        parts[at] *= min(rng.choice((2, 20, 5_000)), most)


def _other_values(answer: str) -> Iterator[str]:
    try:
        whole = json.loads(answer)
    except ValueError:
        return
    if not isinstance(whole, dict):
        return
    for key in whole:
        for value in (*SCALARS, [whole[key]], {key: whole[key]}, str(whole[key])):
            yield json.dumps({**whole, key: value})
        yield json.dumps({k: v for k, v in whole.items() if k != key})
        yield answer[: answer.find(key)]
