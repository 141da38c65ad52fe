"""Files of outcomes: what lm-evaluation-harness and inspect wrote (tests/outcome_files/write.py),
JSON lines, and files that are not what they should be."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from outcome_tables import FILES, outcomes

from healscope.errors import HealscopeError
from healscope.outcomes.comparing import compare
from healscope.outcomes.reading import line_up, source

WRONG = {"base": {1, 5, 9}, "tuned": {0, 1, 2, 5}}
MODELS = tuple(WRONG)


def read(*given, metrics=None, common=False):
    return line_up([source(name, paths, metrics or {}) for name, *paths in given], common)


def refused(*given, match, **more):
    with pytest.raises(HealscopeError, match=match) as found:
        read(*given, **more)
    assert "\n" not in str(found.value)


def right(model, n=12):
    return [float(i not in WRONG[model]) for i in range(n)]


@pytest.fixture
def lm_eval(tmp_path):
    """A copy of the harness's files that a test may spoil: model -> its samples of sums."""
    shutil.copytree(FILES / "lm-eval", tmp_path / "logs")
    return {m: next((tmp_path / "logs" / m).rglob("samples_sums_*")) for m in MODELS}


def spoil(path, change):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def test_samples_of_the_harness():
    sums, towns = read(*((m, FILES / "lm-eval" / m) for m in MODELS))
    assert (sums.name, towns.name, len(sums.items)) == ("sums", "towns", 12)
    for model in MODELS:
        assert list(sums.correct[model]) == list(towns.correct[model]) == right(model)
    assert [i for i, share in enumerate(sums.unread["tuned"]) if share] == [0, 2]
    assert towns.unread["tuned"] is None  # a choice is always one
    assert sums.prompts_differ == {"base": 0, "tuned": 0}
    first = sums.first["tuned"][2]
    assert (first.question, first.text, first.target) == ("2 + 2 =", " I would rather not say", "4")
    assert towns.first["base"][0].text == " Rome"
    assert towns.first["base"][1].text == " Oslo"


def test_another_filter_or_metric_of_the_harness():
    paths = [(m, FILES / "lm-eval" / m) for m in MODELS]
    sums, _ = read(*paths, metrics={"sums": "exact_match,whole", "towns": "acc_norm"})
    assert not sums.correct["base"].any()  # it compares with the space before the number
    refused(*paths, metrics={"sums": "f1"}, match="no metric 'f1', but exact_match")
    refused(*paths, metrics={"sums": "exact_match,odd"}, match="no filter 'odd', but number, whole")


def only(metric):
    return lambda rows: [{**row, "metrics": [metric], metric: row["exact_match"]} for row in rows]


JUDGED = {
    "another order of filters": (
        lambda rows: sorted(rows, key=lambda row: row["filter"], reverse=True),
        "sums: answers of base are judged by exact_match,number and those of tuned by "
        "exact_match,whole, which cannot be compared; .* --metric sums=NAME",
        "exact_match,number",
    ),
    "another metric": (
        only("acc_norm"), "exact_match,number and those of tuned by acc_norm,number", None),
    "less is better": (
        only("wer"), "of wer less is better, .* metric of which more is: --metric sums=", None),
    "unknown": (only("odd"), "not clear which of its metrics .odd. .*: --metric sums=NAME", None),
}  # fmt: skip


@pytest.mark.parametrize("how", JUDGED)
def test_models_are_judged_alike_and_more_is_better(lm_eval, how):
    change, match, way_out = JUDGED[how]
    spoil(lm_eval["tuned"], change)
    (results,) = lm_eval["tuned"].parent.glob("results_*")
    higher = {"sums": {"exact_match": True, "acc_norm": True, "wer": False}}
    results.write_text(json.dumps({**json.loads(results.read_text()), "higher_is_better": higher}))
    refused(*lm_eval.items(), match=match)
    if way_out:
        (sums,) = read(*lm_eval.items(), metrics={"sums": way_out})
        assert sums.metric == way_out


def test_one_metric_counts_where_results_say_that_more_is_better(lm_eval):
    for path in lm_eval.values():
        spoil(path, only("odd"))
        (results,) = path.parent.glob("results_*")
        results.write_text(json.dumps({"higher_is_better": {"sums": {"odd": True}}}))
    (sums,) = read(*lm_eval.items())
    assert sums.metric == "odd,number"


@pytest.mark.parametrize("kind", ["eval", "json"])
def test_logs_of_inspect(kind):
    (sums,) = read(*((m, FILES / "inspect" / kind / m) for m in MODELS))
    for model in MODELS:
        by_question = {a.question: c for a, c in
                       zip(sums.first[model], sums.correct[model], strict=True)}  # fmt: skip
        n = len(by_question)
        assert n == {"eval": 12, "json": 3}[kind]
        assert [by_question[f"{i} + {i} ="] for i in range(n)] == right(model, n)
    found = {a.question for a, share in zip(sums.first["tuned"], sums.unread["tuned"], strict=True)
             if share}  # fmt: skip
    assert found == {"0 + 0 =", "2 + 2 ="}


def test_repeated_samples_count_as_their_mean(tmp_path):
    base = outcomes(tmp_path / "base.jsonl", [1, 0])
    tuned = tmp_path / "tuned.jsonl"
    for sample in range(4):
        outcomes(tuned, [sample > 0, 1], sample=[sample] * 2)
    (sums,) = read(("base", base), ("tuned", tuned))
    assert list(sums.correct["tuned"]) == [0.75, 1.0]


def test_instances_of_outcome_lines(tmp_path):
    paths = [
        (m, outcomes(tmp_path / f"{m}.jsonl", right(m), instance=[i // 3 for i in range(12)]))
        for m in MODELS
    ]
    (sums,) = read(*paths)
    assert list(sums.instances_I) == [i // 3 for i in range(12)]
    for instance in range(4):
        assert len(set(sums.halves_I[sums.instances_I == instance])) == 1
    assert sorted(sums.halves_I) == [0] * 6 + [1] * 6


def test_prompts_that_differ_are_told(lm_eval):
    spoil(lm_eval["tuned"], lambda rows: [{**r, "prompt_hash": "other"} for r in rows])
    report = compare([(m, [path.parent]) for m, path in lm_eval.items()])
    assert "12 of 12 items were asked of tuned in other words" in report["notes"][0]


SPOILED = {
    "cut within a line": (lambda t: t[:-40], "line 24 is no JSON: the file is cut off"),
    "cut after a line": (
        lambda t: "".join(line for line in t.splitlines(True) if '"doc_id": 11' not in line),
        "11 items where results_.* says 12: it is cut off",
    ),
    "empty": (lambda t: "", "is empty"),
    "a list": (lambda t: "[1]\n" + t, "line 1 is no JSON object"),
    "no text": (lambda t: t.replace("Rome", "\udcff"), "is no UTF-8 text"),
    "deep": (lambda t: "[" * 100_000, "line 1 is no JSON"),
    "twice": (
        lambda t: t.replace('"doc_id": 11', '"doc_id": 10'), "sums has item 10 twice"),
    "no number": (
        lambda t: t.replace('"exact_match": 0.0', '"exact_match": NaN'),
        "line 1: 'exact_match' is NaN, which is neither",
    ),
    "too large": (
        lambda t: t.replace('"exact_match": 0.0', '"exact_match": 3'), "'exact_match' is 3"),
    "a word": (lambda t: t.replace('"exact_match": 0.0', '"exact_match": "no"'), "is \"no\""),
    "other item": (
        lambda t: t.replace('"doc_id": 11', '"doc_id": 12'), "base has item 11 and tuned has not"),
    "other question": (
        lambda t: t.replace('"doc_hash": "', '"doc_hash": "0'), "are not the same question"),
    "no filter": (lambda t: t.replace('"filter"', '"fitler"'), "line 1 has no 'filter'"),
    "odd metrics": (lambda t: t.replace('["exact_match"]', '["bleu", "ter"]'), "it is not clear"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_samples_are_refused_in_a_sentence(lm_eval, how):
    change, match = SPOILED[how]
    text = change(lm_eval["tuned"].read_text())
    lm_eval["tuned"].write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(*lm_eval.items(), match=match)


def test_what_cannot_be_lined_up_is_refused_or_left_out(lm_eval, tmp_path):
    folders = [(m, path.parent) for m, path in lm_eval.items()]
    towns = next(folders[1][1].glob("samples_towns_*"))
    again = towns.with_name("samples_towns_2027-01-01T00-00-00.000001.jsonl")
    shutil.copy(towns, again)
    refused(*folders, match="both .* and .* hold towns; name the file")
    again.unlink()
    towns.unlink()
    refused(*folders, match="tuned has no towns")
    (sums,) = read(*folders, common=True)
    assert sums.name == "sums"
    lines = outcomes(tmp_path / "tuned.jsonl", right("tuned"))
    refused(folders[0], ("tuned", lines), match="is of lm-evaluation-harness and tuned of outcome")
    other = outcomes(tmp_path / "other.jsonl", [1], group="other")
    refused(("base", lines), ("tuned", other), match="no benchmark in common", common=True)
    fewer = outcomes(tmp_path / "fewer.jsonl", right("base")[:5])
    refused(("base", lines), ("tuned", fewer), match="has item 5 and tuned has not")
    (sums,) = read(("base", lines), ("tuned", fewer), common=True)
    assert (len(sums.items), sums.left_out) == (5, 7)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"item": 1, "correct": true}', "line 1 has no 'group'"),
        ('{"item": 1, "group": "", "correct": true}', "'group' is empty"),
        ('{"item": true, "group": "a", "correct": true}', "'item' is True"),
        ('{"item": 1, "group": "a", "correct": "yes"}', "'correct' is \"yes\""),
        ('{"item": 1, "group": "a", "correct": 1e999}', "'correct' is Infinity"),
        ('{"item": 1, "group": "a", "correct": 1, "unread": 1}', "'unread' is 1"),
        ('{"item": 1, "group": "a", "correct": %s}' % ("9" * 500), "'correct' is 999"),
        ('{"item": 1, "group": "a", "correct": %s}' % ("9" * 5000), "of thousands of digits"),
        ('{"doc_id": 1, "filter": "none"}', "is of lm-evaluation-harness, under another name"),
        ('{"item": 1, "group": "a", "correct": 1, "score": NaN}', "'score' is nan, no finite"),
    ],
)
def test_wrong_outcome_lines(tmp_path, line, match):
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n")
    refused(("a", path), match=match)


def test_paths_that_hold_nothing(tmp_path):
    refused(("a", tmp_path / "none"), match="there is no .*none")
    refused(("a", tmp_path), match="has no files of outcomes")
    results = next((FILES / "lm-eval").rglob("results_*"))
    refused(("a", results), match="is no log of inspect; of lm-evaluation-harness, give")
    refused(("a", Path("/dev/null")), match="/dev/null is neither a file nor a folder")


BESIDE = {
    "b.jsonl.gz": "b.jsonl.gz is packed and cannot be read; unpack it",
    "samples_sums_2026-11-29T21-18-55.jsonl": "is of lm-evaluation-harness, the files before it",
    "sub/b.jsonl": "both .* and .* hold sums",
    "link/b.jsonl": "both .* and .* hold sums",
    "gone.jsonl": "gone.jsonl",
    "notes.jsonl": "line 1 has no 'item'",
}


@pytest.mark.parametrize("beside", BESIDE)
def test_no_file_of_a_folder_is_passed_over(lm_eval, tmp_path, beside):
    folder, file = tmp_path / "a", tmp_path / "a" / beside
    file.parent.mkdir(parents=True)
    whole = outcomes(folder / "a.jsonl", [1, 0])
    if beside.startswith("link"):
        file.parent.rmdir()
        (tmp_path / "elsewhere").mkdir()
        file.parent.symlink_to(tmp_path / "elsewhere")
    shutil.copy(lm_eval["base"] if beside.startswith("samples") else whole, file)
    if beside == "notes.jsonl":
        file.write_text('{"note": 1}')
    if beside == "gone.jsonl":
        file.unlink()
        file.symlink_to(tmp_path / "none")
    refused(("a", folder), match=BESIDE[beside])


def test_files_that_are_no_outcomes_are_told(tmp_path):
    for model in MODELS:
        (tmp_path / model).mkdir()
        outcomes(tmp_path / model / "a.jsonl", [1, 0])
    (tmp_path / "tuned" / "notes.txt").write_text("")
    notes = compare([(model, [tmp_path / model]) for model in MODELS])["notes"]
    assert notes == ["Of the folders of tuned, notes.txt is not read: no files of outcomes."]


@pytest.mark.parametrize("content", ["{row}", "\ufeff{row}\n", "{row}\r\n"])
def test_lines_as_editors_write_them(tmp_path, content):
    row = json.dumps({"item": 1, "group": "a", "correct": 1})
    (tmp_path / "a.jsonl").write_bytes(content.format(row=row).encode())
    (benchmark,) = read(("a", tmp_path / "a.jsonl"))
    assert list(benchmark.correct["a"]) == [1]


def test_a_metric_of_files_with_one_verdict_is_refused(tmp_path):
    lines = outcomes(tmp_path / "a.jsonl", [1])
    refused(("a", lines), match="--metric names odd, but .* leave --metric out",
            metrics={"sums": "odd"})  # fmt: skip


def spoiled_log(tmp_path, change):
    """A log of inspect, repacked by this Python after `change` of its members."""
    (path,) = (FILES / "inspect/json/base").iterdir()
    log = json.loads(path.read_text())
    members = {"header.json": {k: v for k, v in log.items() if k != "samples"}}
    members |= {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in log["samples"]}
    change(members)
    made = tmp_path / "log.eval"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return made


def set_in(name, *keys, value):
    def change(members):
        place = members[name]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


FIRST = "samples/1_epoch_1.json"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_in("header.json", "status", value="cancelled"), "did not end .*'cancelled'"),
        (set_in("header.json", "eval", value=3), "'eval' is 3"),
        (lambda m: m.pop("header.json"), "has no header.json"),
        (lambda m: m.pop(FIRST), "has 5 samples where its header says 6"),
        (set_in(FIRST, "scores", "pattern", "value", value="good"), "score 'pattern' is \"good\""),
        (set_in(FIRST, "scores", "pattern", "value", value={"a": 1, "b": 0}), "several values"),
        (set_in(FIRST, "scores", value={"x": {"value": 1}}), "no scorer 'pattern', but x"),
        (lambda m: m.update({FIRST: b'{"id": 1'}), "1_epoch_1.json is no JSON"),
        (lambda m: m.update({FIRST: b"[" * 200_000}), "1_epoch_1.json is no JSON"),
        (lambda m: m.update({FIRST: b" " * (2 << 20)}), "is refused: its .* would unpack"),
    ],
)
def test_spoiled_logs_of_inspect(tmp_path, change, match):
    refused(("a", spoiled_log(tmp_path, change)), match=match, metrics={"sums": "pattern"})


def test_scorers_are_alike(tmp_path):
    def other(members):
        for name, sample in members.items():
            if name != "header.json":
                sample["scores"] = {"match": sample["scores"]["pattern"], **sample["scores"]}
        members["header.json"]["results"] = [1]

    (tmp_path / "b").mkdir()
    logs = ("a", spoiled_log(tmp_path, lambda m: None)), ("b", spoiled_log(tmp_path / "b", other))
    refused(*logs, match="sums: answers of a are judged by pattern and those of b by match")
    (sums,) = read(*logs, metrics={"sums": "pattern"})
    assert sums.metric == "pattern"


def test_a_log_without_a_score_is_left_out_and_told(tmp_path):
    whole = spoiled_log(tmp_path, lambda m: None)
    (tmp_path / "b").mkdir()
    part = spoiled_log(tmp_path / "b", lambda m: [m[f"samples/1_epoch_{e}.json"].pop("scores")
                                                  for e in (1, 2)])  # fmt: skip
    refused(("a", whole), ("b", part), match="a has item 1 and b has not")
    report = compare([("a", [whole]), ("b", [part])], common=True)
    assert report["benchmarks"][0]["items"] == 2
    assert "2 samples of b have no score" in " ".join(report["notes"])


def test_a_damaged_log(tmp_path):
    (path,) = (FILES / "inspect/eval/base").iterdir()
    whole = path.read_bytes()
    for name, content in (("cut", whole[:-100]), ("none", b""), ("turned", turned(whole))):
        made = tmp_path / f"{name}.eval"
        made.write_bytes(content)
        refused(("a", made), match="is no whole zip file|is damaged")


def turned(whole: bytes) -> bytes:
    """The log with one byte of every thousand turned over within its first half."""
    found = bytearray(whole)
    for place in range(400, len(found) // 2, 1000):
        found[place] ^= 0xFF
    return bytes(found)
