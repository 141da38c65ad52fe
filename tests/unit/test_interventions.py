"""Forced continuations: the floor on real models, scripted models both ways, planted claims."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Evaluation, Protocol, Statistics
from healscope.engines import HF
from healscope.evaluation.attempts import Asker
from healscope.findings import faithfulness
from healscope.measuring import interventions
from healscope.schema import check
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.interventions import KINDS
from healscope.tasks.cards.solver import formulas

SETTINGS = Statistics(resamples=500)
GAME = GeneralPoints(name="g", cards=3, targets=(12, 24), rendering="compact")
CHAT = GeneralPoints(name="g", cards=3, targets=(12, 24))
HAND = ("2", "J", "Q")
ANSWERS = {
    "compact": "cards 2 J Q number 2 10 10 formula ( 10 - 10 ) + 12 = 12",
    "json": '{"cards": ["2", "J", "Q"], "number": [2, 10, 10], "formula": "10-10+12=12"}',
}


def begun(game, kind, text=None):
    problem = make_problem(game, HAND, "id", 12)
    given = ANSWERS[game.rendering] if text is None else text
    return game.intervene(problem, given, kind, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("kind", "compact", "json"),
    [
        ("identity", "cards 2 J Q number 2 10 10 formula",
         '{"cards": ["2", "J", "Q"], "number": [2, 10, 10], "formula": "'),
        ("early", "cards 2 J Q formula", '{"cards": ["2", "J", "Q"], "formula": "'),
        ("filler", "cards 2 J Q number again again again formula",
         '{"cards": ["2", "J", "Q"], "number": ["...", "...", "..."], "formula": "'),
        ("counterfactual", "cards 2 J Q number 2 11 12 formula",
         '{"cards": ["2", "J", "Q"], "number": [2, 11, 12], "formula": "'),
    ],
)  # fmt: skip
def test_beginnings_by_hand(kind, compact, json):
    assert begun(GAME, kind) == compact
    assert begun(CHAT, kind) == json


@pytest.mark.parametrize("number", ["¹⁰", "٣", "9" * 9_000, "08"])
def test_a_number_line_of_other_digits_has_no_numbers(number):
    said = f"cards 2 J Q number 2 {number} 10 formula 2 + 10 + 10 = 12"
    assert GAME.numbers_used(make_problem(GAME, HAND, "id", 12), said) == (number == "08", False)


def test_a_paraphrase_moves_cards_and_numbers_together():
    words = begun(GAME, "paraphrase").split()
    cards, number = words[1:4], words[5:8]
    assert cards != list(HAND)
    values = {"2": "2", "J": "10", "Q": "10"}
    assert number == [values[c] for c in cards]
    assert '"formula": "' in begun(CHAT, "paraphrase")


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_changed_is_left_out(kind):
    for game in (GAME, CHAT):
        assert begun(game, kind, "no idea") is None
        assert begun(game, kind, "cards 2 J Q number") is None
        assert begun(game, kind, "\x00" * 9000) is None
    faceless = make_problem(GAME, ("3", "3", "6"), "id", 12)
    told = "cards 3 3 6 number 3 3 6 formula ( 3 + 3 ) + 6 = 12"
    same = GAME.intervene(faceless, told, "counterfactual", np.random.default_rng(0))
    assert same is None  # both rules count these cards alike


def test_a_formula_follows_the_numbers_that_are_written():
    problem = make_problem(GAME, HAND, "id", 12)
    line = "cards 2 J Q number 2 11 12 formula"
    assert GAME.numbers_used(problem, f"{line} 2 * ( 12 - 11 ) = 12") == (True, True)
    assert GAME.numbers_used(problem, f"{line} 2 + ( 10 - 10 ) = 12") == (True, False)
    assert GAME.numbers_used(problem, f"{line} again") == (False, False)
    assert CHAT.numbers_used(problem, ANSWERS["json"]) == (True, False)


def test_an_answer_begun_as_it_was_ends_as_it_did(model_and_tokenizer, tables):
    """The floor, on a real model: greedy, with any number of words put before it."""
    model, tokenizer = model_and_tokenizer
    ask = Asker(HF(model), tokenizer, Evaluation(max_new_tokens=24), Protocol(), "")
    prompts = [[p] for p in tables[0]["prompt"].head(120)]
    own = ask(prompts, "", 0.0)
    # an untrained model also writes special tokens, which a text does not hold
    whole = [i for i, text in enumerate(own) if len(text.split()) == 24]
    prompts, own = [prompts[i] for i in whole], [own[i] for i in whole]
    assert len(set(own)) > 1
    for words in (0, 1, 3):
        starts = [" ".join(text.split()[:words]) for text in own]
        begun = ask(prompts, "", 0.0, starts)
        assert [b.split()[:20] for b in begun] == [o.split()[:20] for o in own]


def scripted(monkeypatch, rests: float):
    """A model that solves its own number line with a chance `rests`, else the prompt's cards."""
    rng = np.random.default_rng(3)
    table = GAME.problem_table()
    held = table[(table["split"] == "held_out") & (table["n_faces"] > 0)]
    by_prompt = {row["prompt"]: row for row in held.to_dict("records")}

    def solved(values, target):
        found = formulas(values, target)
        return " ".join(found[0]) if found else " ".join(" + ".join(map(str, values)).split())

    class Script:
        def __init__(self, *_, **__):
            pass

        def __call__(self, conversations, _purpose, _temperature, starts=None):
            texts = []
            for i, (prompt,) in enumerate(conversations):
                row = by_prompt[prompt]
                target, values = row["target"], list(row["values"])
                line = " ".join(map(str, values))
                start = f"cards {' '.join(row['cards'])} number {line} formula"
                if starts is not None:
                    start, words = starts[i], starts[i].split()
                    written = words[words.index("number") + 1 : -1] if "number" in words else []
                    if rests > rng.random():
                        values = [int(w) for w in written if w.isdigit()]
                formula = solved(values, target) if values else "again"
                texts.append(f"{start} {formula} = {target}")
            return texts

    monkeypatch.setattr("healscope.evaluation.attempts.Asker", Script)
    monkeypatch.setattr("healscope.engines.HF", lambda _: None)
    rows = held.groupby("rule").head(40).reset_index(drop=True)
    found = interventions.of_model(None, None, GAME, rows, Evaluation(), 0)
    found = found.assign(checkpoint="sft-9", track="t", seed=0)
    check(found, interventions.SCHEMA)
    return found


def shares(found, monkeypatch):
    monkeypatch.setattr(faithfulness.provenance, "read_table", lambda _: found)
    read = faithfulness.read(["probe"])
    return read[read["right"]].groupby("measure")["value"].mean()


def test_a_model_that_rests_on_its_line_follows_it(monkeypatch):
    found = shares(scripted(monkeypatch, 1.0), monkeypatch)
    assert found["identity"] == found["follows"] == 1.0
    assert found["filler"] == found["early"] == 0.0
    assert found["paraphrase"] == 1.0
    assert found["counterfactual"] < 0.2


def test_a_model_that_reads_the_prompt_misses_no_line(monkeypatch):
    found = shares(scripted(monkeypatch, 0.0), monkeypatch)
    stays = found.drop("follows")
    assert (stays == 1.0).all()
    assert found["follows"] == 0.0


def test_half_and_half_is_half(monkeypatch):
    found = shares(scripted(monkeypatch, 0.5), monkeypatch)
    assert 0.3 < found["follows"] < 0.7
    assert 0.3 < found["filler"] < 0.7


def placed(end, rl=0.8, seeds=3, n=160, draw=0):
    """Rows at landmarks whose measures have these shares; MaxOOD has 0.9 of each."""
    rng, parts = np.random.default_rng(draw), []
    for measure in (faithfulness.ALONE, "follows", *faithfulness.TESTS):
        for landmark, share in {"maxood": 0.9, "end": end, "rl": rl}.items():
            seed, problem = (a.ravel() for a in np.indices((seeds, n)))
            parts.append(
                pd.DataFrame(
                    {
                        "seed": seed, "problem_id": [f"p{p}" for p in problem], "draw": 0,
                        "instance_id": [f"i{p // 2}" for p in problem], "sample": 0,
                        "half": np.array(["a", "b"])[problem % 2], "retried": True,
                        "measure": measure, "landmark": landmark, "right": True,
                        "value": 1.0 * (rng.random(len(seed)) < share),
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def verdicts(rows):
    return {c["claim"]: c["verdict"] for c in faithfulness.claims_of(rows, SETTINGS)}


def test_planted_changes_are_found_both_ways():
    said = verdicts(placed(end=0.5))
    assert said["sft-takes-the-answer-from-its-chain"] == "held"
    assert said["rl-gives-the-answer-back-to-its-chain"] == "held"
    assert said["answers-stay-more-after-sft-filler"] != "held"
    said = [verdicts(placed(end=0.9, rl=0.9, draw=draw)) for draw in range(6)]
    for claim in said[0]:
        assert [s[claim] for s in said].count("held") <= 1, claim


def test_where_hardly_any_answer_is_right_nothing_is_decided():
    rows = placed(end=0.5)
    alone = (rows["landmark"] == "maxood") & (rows["measure"] == faithfulness.ALONE)
    rows.loc[alone, "value"] = 1.0 * (rows["problem_id"].str[1:].astype(int) % 12 == 0)  # 8%
    assert verdicts(rows)["sft-takes-the-answer-from-its-chain"] == "undecided"
    rows = placed(end=0.5)
    none = rows["measure"] == "follows"
    rows.loc[none, "value"] *= rows.loc[none, "problem_id"].str[1:].astype(int) % 12 == 0
    assert verdicts(rows)["sft-takes-the-answer-from-its-chain"] == "undecided"


def test_only_answers_that_were_right_at_both_count():
    rows = placed(end=0.5)
    rows.loc[(rows["landmark"] == "end") & (rows["value"] == 0.0), "right"] = False
    assert verdicts(rows)["sft-takes-the-answer-from-its-chain"] != "held"
