"""A user's own files as a task: what is held out, what is reported, what a change runs again."""

import json
from pathlib import Path

import pytest

from healscope import provenance
from healscope.config import load
from healscope.errors import HealscopeError
from healscope.tasks import build, task_settings
from healscope.tasks.conversation import as_prompt
from healscope.tasks.data.twins import near_twins
from healscope.tasks.posing import Protocol
from healscope.tasks.tables import require_enough

FILES = Path(__file__).parents[2] / "config/your-data"


def jsonl(file: Path, rows: list[dict]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def asked(words: str, numbers, **more) -> list[dict]:
    return [{"question": words.format(n), "answer": f"a{n}", **more} for n in numbers]


@pytest.fixture
def section(tmp_path) -> dict:
    """30 examples, 20 ID problems, and two OOD sets of 20 and 10."""
    return {
        "family": "data",
        "sft": jsonl(tmp_path / "train.jsonl", asked("What is {}?", range(30))),
        "id": jsonl(tmp_path / "id.jsonl", asked("What is {}?", range(100, 120))),
        "ood": {
            "german": jsonl(tmp_path / "de.jsonl", asked("Was ist {}?", range(20))),
            "long": jsonl(tmp_path / "long.jsonl", asked("What is {}, again?", range(900, 910))),
        },
        "prompt": "question",
    }


def test_files_are_what_is_trained_on_and_what_is_asked(section):
    task = build("mine", section)
    table, pool = task.problem_table(), task.sft_table()
    counted = table.groupby(["split", "rule", "group"]).size()
    assert counted.to_dict() == {
        ("held_out", "id", "id"): 20,
        ("held_out", "ood", "german"): 20,
        ("held_out", "ood", "long"): 10,
        ("train", "id", "sft"): 30,
    }
    assert set(pool["prompt"]) == {f"What is {n}?" for n in range(30)}
    assert table["pair_id"].is_unique  # ID and OOD are not paired
    halves = table[table["split"] == "held_out"].groupby(["group", "half"])["instance_id"].nunique()
    assert halves.to_dict() == {(g, h): n for g, n in (("german", 10), ("id", 10), ("long", 5))
                                for h in "ab"}  # fmt: skip
    require_enough("mine", table)
    assert task.verify(task.read(pool.iloc[0].to_dict()), pool["response"][0]).outcome == "correct"


def test_a_share_of_the_examples_is_held_out_where_no_file_is(section):
    task = build("mine", {**section, "id": None, "held_out": 0.2})
    table = task.problem_table()
    held = table[(table["split"] == "held_out") & (table["rule"] == "id")]
    assert len(held) == 6
    assert len(task.sft_table()) == 24
    assert not set(held["prompt"]) & set(task.sft_table()["prompt"])


def test_without_sft_nothing_is_trained(section):
    settings = task_settings({**section, "sft": None})
    assert not settings.trainable
    assert settings.build("mine").sft_table().empty
    assert set(settings.build("mine").problem_table()["split"]) == {"held_out"}
    study = {
        "study": "x", "seeds": [0], "tasks": {"mine": {**section, "sft": None}},
        "train_on": "mine", "models": {"m": {"source": "a/b"}}, "rl": {"branches": {"ppo": [20]}},
    }  # fmt: skip
    with pytest.raises(HealscopeError, match="'mine' has no reference answers to train on"):
        load(study)


def test_instances_that_are_evaluated_are_not_trained_on(section, tmp_path):
    """By their label, and where there is none by their prompt."""
    rows = [*asked("What is {}?", range(98, 102)), *asked("Was ist {}?", [3])]
    section["sft"] = jsonl(tmp_path / "train.jsonl", rows)
    task = build("mine", section)
    assert sorted(task.sft_table()["prompt"]) == ["What is 98?", "What is 99?"]
    assert task.problem_table().groupby("group").size()["sft"] == 2
    assert len(task.listed("id")) == 22  # none of them twice
    assert "sft: 3 of 5 examples are not trained on: their instance" in "\n".join(task.notes())
    labelled = asked("What is {}?", range(5), doc=7) + asked("Now {}?", range(5), doc=8)
    section["sft"] = {"file": jsonl(tmp_path / "train.jsonl", labelled), "instance": "doc"}
    section["id"] = {"file": jsonl(tmp_path / "id.jsonl", asked("Then {}?", range(9), doc=7)),
                     "instance": "doc"}  # fmt: skip
    task = build("mine", section)
    assert set(task.sft_table()["instance_id"]) == {"8"}
    held = task.problem_table().query("rule == 'id' and split == 'held_out'")
    assert set(held["instance_id"]) == {"7"}
    assert held["pair_id"].is_unique


def test_nothing_left_to_train_on_is_refused(section):
    with pytest.raises(HealscopeError, match="sft: .*no example whose instance is not evaluated"):
        build("mine", {**section, "sft": section["id"]})


def test_near_twins_are_found_reported_and_left_out(section, tmp_path):
    section["ood"] = jsonl(
        tmp_path / "ood.jsonl",
        [*asked("what  is {}", [5]), *asked("What is {} in binary?", range(700, 720))],
    )
    task = build("mine", section)
    table = task.problem_table().set_index("problem_id")
    (twin,) = table["twin"].dropna().items()
    assert twin == ("ood.ood:1/0:ood", "sft:6")
    assert (
        "1 of 21 problems of ood.ood have a near twin in sft, as ood.ood:1 in sft:6"
        in "\n".join(task.notes())
    )
    without = build("mine", {**section, "near_twins": "leave_out"})
    assert len(without.problem_table()) == len(table) - 1
    assert without.problem_table()["twin"].isna().all()


NEAR = [
    ("What is 9 plus 37?", "what is 9 plus 37", True),
    ("What is 9 plus 37?", "What is 9 plus 38?", False),
    ("Tell me the capital of France", "tell me  the capital of france!", True),
    ("a b c d e f g h i j k l m n", "a b c d e f g h i j k l m x", True),  # 11 of 13 runs
    ("a b c d e f g h i j", "a b c d e f g h i x", False),  # 7 of 9
    ("日本の首都はどこですか教えてください", "日本の首都はどこですか、教えてください。", True),
    ("日本の首都はどこですか", "日本の人口はどれくらいですか", False),
    ("", "", True),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "near"), NEAR)
def test_twins_say_nearly_the_same_with_the_same_numbers(one, other, near):
    assert near_twins([one], ["something else altogether", other]) == [1 if near else None]


def test_the_nearest_twin_is_found_among_many():
    trained = [f"question {n} of a long list of questions" for n in range(300)]
    asked_ = ["Question 7 of a long list of questions!", "question 300 of a long list of questions"]
    assert near_twins(asked_, trained) == [7, None]


def test_repeated_rows_count_once_and_may_not_contradict(section, tmp_path):
    rows = asked("What is {}?", [100, 100, *range(101, 110)])
    task = build("mine", {**section, "id": jsonl(tmp_path / "id.jsonl", rows)})
    assert len(task.problem_table().query("rule == 'id' and split == 'held_out'")) == 10
    assert "id: 1 rows repeat an earlier row" in "\n".join(task.notes())
    rows[1]["answer"] = "b"
    with pytest.raises(
        HealscopeError, match="id: .*id.jsonl, line 2: the prompt is the same as in line 1"
    ):
        build("mine", {**section, "id": jsonl(tmp_path / "id.jsonl", rows)})


def test_groups_part_sets_further(section, tmp_path):
    rows = [{**row, "topic": f"t{i % 2}"} for i, row in enumerate(asked("Was ist {}?", range(20)))]
    de = {"file": jsonl(tmp_path / "de.jsonl", rows), "group": "topic"}
    table = build("mine", {**section, "ood": {"german": de}}).problem_table()
    assert set(table.loc[table["rule"] == "ood", "group"]) == {"german/t0", "german/t1"}


def test_where_takes_rows_by_the_values_of_their_fields(section, tmp_path):
    rows = [
        *asked("What is {}?", range(10), level="Level 1", hard=False),
        *asked("What is {}, then?", range(10, 20), level="Level 2", hard=False),
        *asked("So what is {}?", range(20, 30), level="Level 3", hard=True),
    ]
    file = jsonl(tmp_path / "all.jsonl", rows)
    task = build("mine", section | {
        "sft": {"file": file, "where": {"level": ["Level 1", "Level 2"]}},
        "id": None,
        "ood": {"hard": {"file": file, "where": {"hard": True, "level": "Level 3"}}},
    })  # fmt: skip
    trained, asked_ood = task.sft_table(), task.listed("ood")
    assert len(trained) == 12  # the other eight are held out
    assert {p.partition(" ")[0] for p in trained["prompt"]} == {"What"}
    assert sorted(p.data["line"] for p in asked_ood) == list(range(21, 31))


def test_a_source_without_where_has_the_values_that_it_always_had(section):
    assert '"where":' not in json.dumps(task_settings(section).model_dump())
    chosen = section | {"ood": {"file": section["id"], "where": {"answer": "a101"}}}
    assert task_settings(chosen).model_dump()["ood"]["ood"]["where"] == {"answer": "a101"}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {"level": "Level 9"},
            "ood.ood.where: field 'level' of .* is never 'Level 9'; its .* 1, 2",
        ),
        ({"grade": 1}, "line 1: the row lacks the field 'grade', it has question, answer, level"),
        ({"level": 1, "question": "What is 3?"}, "no row of .* has all of these values"),
        ({"level": []}, "at least 1 item"),
    ],
)
def test_what_where_asks_for_has_to_be_there(section, tmp_path, where, said):
    rows = [*asked("What is {}?", [1, 2], level=1), *asked("What is {}?", [3, 4], level=2)]
    section["ood"] = {"file": jsonl(tmp_path / "ood.jsonl", rows), "where": where}
    with pytest.raises((HealscopeError, ValueError), match=said):
        build("mine", section)


def test_limits_are_drawn_of_each_set_alike_every_time(section):
    some = {**section, "limit": 5, "train_problems": 3}
    table = build("mine", some).problem_table()
    assert table.groupby("group").size().to_dict() == {"german": 5, "id": 5, "long": 5, "sft": 3}
    assert build("mine", some).problem_table().equals(table)
    assert not build("mine", {**some, "seed": 1}).problem_table().equals(table)


def test_an_instance_of_both_rules_is_retried_under_both(section, tmp_path):
    for key in ("id", "ood"):
        rows = asked(key + " {}?", range(8), doc=1) + asked(key + " {}?", range(8, 16), doc=2)
        section[key] = {"file": jsonl(tmp_path / f"{key}.jsonl", rows), "instance": "doc"}
    task = build("mine", section)
    posed = task.posed(task.problem_table(), Protocol())
    assert posed[posed["retried"]].groupby(["instance_id", "rule"]).size().to_dict() == {
        (doc, rule): 1 for doc in "12" for rule in ("id", "ood")
    }


def test_every_set_can_have_its_own_fields_and_verdict(section, tmp_path):
    rows = [{"frage": f"Zahl {n}?", "zahl": n} for n in range(10)]
    german = {"file": jsonl(tmp_path / "de.jsonl", rows), "prompt": "{{ frage }}",
              "answer": "zahl", "verdict": "number"}  # fmt: skip
    task = build("mine", {**section, "ood": {"german": german}})
    problem = task.listed("ood")[3]
    assert task.prompt(problem) == "Zahl 3?"
    assert task.verify(problem, "Es ist die 3.0").outcome == "correct"
    assert task.verify(task.listed("id")[0], "so a0").outcome == "wrong"


def test_a_chat_template_sees_every_message(chat_tokenizer):
    from healscope.models import tokens

    said = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "2?")]
    prompt = as_prompt([{"role": role, "content": text} for role, text in said])
    ids = tokens.conversation_ids(chat_tokenizer, [prompt, "4", "again"])
    assert chat_tokenizer.decode(ids) == (
        "[system]Be brief.[user]Hi[assistant]Hello[user]2?[assistant]4[user]again[assistant]"
    )
    plain = tokens.conversation_ids(chat_tokenizer, [prompt], templated=False)
    assert chat_tokenizer.decode(plain) == "<bos>Be brief.\n\nHiHello<eos>2?"
    chat_tokenizer.chat_template = "{{ raise_exception('no system here') }}"
    with pytest.raises(HealscopeError, match="refuses a conversation of system, user.*no system"):
        tokens.conversation_ids(chat_tokenizer, [prompt])


@pytest.fixture
def chat_tokenizer():
    from healscope.models import tokens

    tokenizer = tokens.text_tokenizer(["Be brief. Hi Hello 2? 4 again [system] [user] [assistant]"])
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return tokenizer


VERDICT = """
def verify(row, text):
    if not text.strip().isdigit():
        return "no_answer"
    return int(text) % row["divisor"] == 0
"""


def test_a_python_file_of_the_user_judges(section, tmp_path):
    (tmp_path / "divides.py").write_text(VERDICT)
    rows = [{"question": f"Name a multiple of {n}.", "divisor": n} for n in range(2, 30)]
    own = {**section, "verdict": str(tmp_path / "divides.py")}
    own |= {"id": jsonl(tmp_path / "id.jsonl", rows[:14]), "sft": None}
    own["ood"] = jsonl(tmp_path / "ood.jsonl", rows[14:])
    task = build("mine", own)
    problem = task.read(task.problem_table().iloc[3].to_dict())
    assert [task.verify(problem, t).outcome for t in ("10", "11", "x", "")] == [
        "correct", "wrong", "no_answer", "no_answer",
    ]  # fmt: skip
    (tmp_path / "divides.py").write_text("def verify(row, text):\n    return int(text) > 0")
    task = build("mine", own)
    with pytest.raises(HealscopeError, match="divides.py fails with ValueError in line 2"):
        task.verify(problem, "x")


def test_what_an_answer_may_not_be_is_said_with_its_line(section, tmp_path):
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(100, 110)]
    rows.append({"question": "And?", "answer": "none"})
    number = {"file": jsonl(tmp_path / "id.jsonl", rows), "verdict": "number"}
    said = "id: .*id.jsonl, line 11: the answer 'none' is not an answer for verdict number: there"
    with pytest.raises(HealscopeError, match=said):
        build("mine", {**section, "id": number})
    said = "sft: .*line 1: the answer 'a0' is judged no_answer by verdict exact itself"
    with pytest.raises(HealscopeError, match=said):
        build("mine", {**section, "extract": "#### (.*)"})
    with pytest.raises(HealscopeError, match="there is no verdict 'equal'; there are exact, numb"):
        build("mine", {**section, "verdict": "equal"})
    with pytest.raises(HealscopeError, match=r"extract: it is not a regular expression of RE2"):
        build("mine", {**section, "extract": "(?=a)"})
    with pytest.raises(HealscopeError, match="id: name the file of the ID problems, or name sft"):
        build("mine", {**section, "id": None, "sft": None})
    with pytest.raises(HealscopeError, match="ood.long: nothing.jsonl is not there"):
        build("mine", {**section, "ood": {"long": "nothing.jsonl"}})


def test_hashes_are_filled_in_and_insisted_on(section, tmp_path):
    settings = task_settings(section)
    assert settings.hashes.keys() == {"sft", "id", "ood.german", "ood.long"}
    assert settings.hashes["id"] == "sha256:" + provenance.sha256(section["id"])
    planned = settings.model_dump(mode="json")
    assert build("mine", planned).hashes == settings.hashes
    jsonl(tmp_path / "de.jsonl", asked("Was ist {}?", range(21)))
    with pytest.raises(HealscopeError, match="hashes.ood.german: the file is not what it was when"):
        build("mine", planned)
    assert task_settings(section).hashes["ood.german"] != settings.hashes["ood.german"]


def test_provenance_has_names_and_hashes_and_no_paths(section):
    settings = task_settings({**section, "verdict": "exact"})
    recorded = provenance.record({"task": settings.model_dump(mode="json")})
    text = json.dumps(recorded["config"])
    assert str(Path(section["sft"]).parent) not in text
    assert recorded["config"]["task"]["ood"]["german"]["file"] == "de.jsonl"
    assert settings.hashes["sft"] in text
