"""Files of rows: every format gives the same rows, and what is wrong is said with its line."""

import json
from pathlib import Path

import pytest

from healscope.errors import HealscopeError
from healscope.tasks.conversation import messages_of
from healscope.tasks.data import files
from healscope.tasks.data.rows import Fields, questions

ROWS = [
    {"question": "What is 2 + 2?", "answer": "4"},
    {"question": "Größe, in m\n?", "answer": "5"},
]


def jsonl(file: Path, *rows) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def written(folder: Path, kind: str) -> str:
    """ROWS in one of the formats."""
    file = folder / f"rows{kind}"
    if kind == ".jsonl":
        return jsonl(file, *ROWS)
    if kind == ".json":
        file.write_text(json.dumps({"data": ROWS}))
    elif kind == ".parquet":
        import pandas as pd

        pd.DataFrame(ROWS).to_parquet(file)
    elif kind in (".csv", ".tsv"):
        mark = "," if kind == ".csv" else "\t"
        rows = [[f'"{cell}"' for cell in row.values()] for row in ROWS]
        lines = [mark.join(cells) for cells in [list(ROWS[0]), *rows]]
        file.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    else:
        from datasets import Dataset, DatasetDict

        parts = {"train": Dataset.from_list(ROWS[:1]), "test": Dataset.from_list(ROWS)}
        DatasetDict(parts).save_to_disk(str(file))
        return f"{file}#test"
    return str(file)


@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv", ".parquet", "_saved"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    sheet = files.read(written(tmp_path, kind))
    assert [dict(row.values) for row in sheet.rows] == ROWS
    assert files.digest(sheet.source) == files.digest(sheet.source)


def test_a_row_in_csv_has_the_line_where_it_begins(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text('a,b\n"1\n2",3\n\n4,5\n')
    assert [row.line for row in files.read(str(file)).rows] == [2, 5]


BROKEN = {
    (
        "x.jsonl",
        b'{"a": 1}\n{"a": \n',
    ): "x.jsonl, line 2: this is not JSON .*character 7.*; correct",
    ("x.jsonl", b'{"a": 1}\n[1]\n'): "x.jsonl, line 2: a list where an object",
    ("x.jsonl", b'{"a": NaN}\n'): "x.jsonl, line 1: .*NaN is not a JSON value",
    ("x.jsonl", b'{"a": ' + b"[" * 10**5 + b"\n"): "x.jsonl, line 1: .*nested too deeply",
    ("x.jsonl", b'{"a": ' + b"7" * 10**4 + b"}\n"): "x.jsonl, line 1: this is not JSON",
    ("x.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n'): "x.jsonl, line 2: byte 0xe9 is not UTF-8; save",
    ("x.jsonl", b""): "x.jsonl: the file is empty",
    ("x.jsonl", b"\n\n"): "x.jsonl: the file is empty",
    ("x.json", b"[]"): "x.json: the file is empty",
    ("x.json", b'{"a": 1}\n{"a": 2}\n'): "x.json, line 2: .*is it JSONL.*call it .jsonl",
    ("x.json", b'{"a": 1}'): "x.json: it must hold a list of objects",
    ("x.csv", b"a,b\n1,2\n3\n"): r"x.csv, line 3: 1 cells, but the header has 2 \(a, b\)",
    ("x.csv", b"a,b\n1,2,3\n"): "x.csv, line 2: 3 cells, but the header has 2",
    ("x.csv", b'a,b\n1,"2\n'): "x.csv, line 2: this is not CSV",
    ("x.csv", b"a,a\n1,2\n"): "x.csv, line 1: two columns are called 'a'",
    ("x.csv", b"a,b\n"): "x.csv: the file is empty",
    ("x.parquet", b"PAR1"): "x.parquet: this is not a Parquet file",
    ("x.txt", b"a"): "x.txt: files ending with '.txt' cannot be read, only .jsonl",
}


@pytest.mark.parametrize(("name", "content"), BROKEN, ids=lambda part: str(part)[:24])
def test_a_broken_file_is_refused_with_its_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HealscopeError, match=BROKEN[name, content]) as said:
        files.read(str(tmp_path / name))
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 400


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HealscopeError, match="nothing.jsonl is not there, seen from"):
        files.read("nothing.jsonl")
    with pytest.raises(HealscopeError, match="folder, but not one that `datasets` saved"):
        files.read(str(tmp_path))
    with pytest.raises(HealscopeError, match="nobody/nothing:a@b#c is not a file here.*hub"):
        files.read("nobody/nothing:a@b#c")
    saved = written(tmp_path, "_saved").partition("#")[0]
    with pytest.raises(HealscopeError, match="has the splits train, test; name one, as .*#test"):
        files.read(saved)
    with pytest.raises(HealscopeError, match="no split 'tset', only train, test"):
        files.read(f"{saved}#tset")


WRONG = {
    ('{"q": "a"}',): "line 1: field 'answer' .answer.: the row lacks it, it only has q;",
    ('{"q": 5, "answer": "b"}',): "line 1: field 'q' .prompt.: a number, not text",
    ('{"q": " ", "answer": "b"}',): "line 1: field 'q' .prompt.: it is empty",
    ('{"q": "a", "answer": ""}',): "line 1: field 'answer' .answer.: it is empty",
    ('{"q": "a", "answer": null}',): "line 1: field 'answer' .answer.: null, not text",
    ('{"q": "a", "answer": []}',): "line 1: field 'answer' .answer.: the list is empty",
    ('{"q": "a", "answer": "b"}', '{"q": "c", "answer": 1}'): (
        "line 2: field 'answer' .answer.: it is a number, but text in line 1"
    ),
    ('{"q": "a", "answer": "b", "uid": 1}', '{"q": "c", "answer": "d", "uid": 1}'): (
        "line 2: field 'uid' .row_id.: '1' is also the name of line 1"
    ),
    (json.dumps({"q": "x" * 10_000_000, "answer": "b"}),): (
        "line 1: field 'q' .prompt.: 10,000,000 characters"
    ),
    (
        json.dumps({"q": "a", "answer": "b" * 20_000}),
    ): "line 1: field 'answer' .*longer than 16,384",
    ('{"q": "<|healscope:conversation|>[]", "answer": "b"}',): "line 1: .*which is not allowed",
}


@pytest.mark.parametrize("lines", WRONG, ids=lambda lines: lines[-1][:40])
def test_a_row_without_what_it_needs_is_refused_with_line_and_key(tmp_path, lines):
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(lines))
    fields = Fields(prompt="q", row_id="uid" if "uid" in lines[0] else None)
    with pytest.raises(HealscopeError, match=f"^sft: .*x.jsonl, {WRONG[lines]}") as said:
        questions(files.read(str(file)), fields, "sft")
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 400


TEMPLATES = {
    "{{ q.nothing }}": "the template of prompt: it fails .*no attribute 'nothing'",
    "{{ nothing }}": "the template of prompt: it fails .'nothing' is undefined",
    "{{ q": "the template of prompt is not valid Jinja",
    "{{ 1 // 0 }}": "the template of prompt: it fails .*zero",
    "{{ q.__class__.__mro__ }}": "the template of prompt: it fails .*unsafe",
    "{% for i in range(10**9) %}{% endfor %}": "the template of prompt: it fails .*[Rr]ange",
    "{{ q[:0] }}": "the template of prompt: it is empty",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_that_fails_is_named(tmp_path, template):
    sheet = files.read(jsonl(tmp_path / "x.jsonl", {"q": "a", "answer": "b"}))
    with pytest.raises(HealscopeError, match=f"^id: .*{TEMPLATES[template]}"):
        questions(sheet, Fields(prompt=template), "id")


def test_templates_and_fields_make_questions(tmp_path):
    row = {"q": "a", "the answer": "so: #### 7", "doc": 3, "topic": "x"}
    (found,) = questions(
        files.read(jsonl(tmp_path / "x.jsonl", row)),
        Fields(
            prompt="Q: {{ q }}\n", answer="{{ row['the answer'].split('####')[1] }}",
            response="the answer", instance="doc", group="topic",
        ),
        "sft",
    )  # fmt: skip
    assert found.prompt == "Q: a\n"
    assert found.answers == (" 7",)
    assert (found.response, found.instance, found.group) == ("so: #### 7", "3", "x")


def test_chats_are_questions_with_all_that_was_said_before(tmp_path):
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"from": "human", "value": "2 + 2?"},
        {"from": "gpt", "value": "4"},
    ]
    rows = [{"messages": chat}, {"messages": chat[3:]}]
    whole, short = questions(files.read(jsonl(tmp_path / "x.jsonl", *rows)), Fields(), "sft")
    assert [m["content"] for m in messages_of(whole.prompt)] == [
        "Be brief.",
        "Hi",
        "Hello",
        "2 + 2?",
    ]
    assert (whole.response, whole.answers) == ("4", ("4",))
    assert short.prompt == "2 + 2?"


CHATS = {
    "[]": "it is not a list of messages",
    '"hi"': "it is not a list of messages",
    '[{"role": "user"}]': "message 1 has no text",
    '[{"role": "tool", "content": "x"}]': "message 1 has the role 'tool'",
    '[{"role": "assistant", "content": "x"}]': "the roles are none",
    '[{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]': "user, user; a chat",
    '[{"role": "user", "content": "x"}]': "does not end with an answer of the assistant",
}


@pytest.mark.parametrize("chat", CHATS)
def test_what_is_no_chat_is_refused(tmp_path, chat):
    sheet = files.read(jsonl(tmp_path / "x.jsonl", {"messages": json.loads(chat)}))
    with pytest.raises(HealscopeError, match=f"line 1: field 'messages' .*{CHATS[chat]}"):
        questions(sheet, Fields(), "sft")
