"""Files of outcomes: what lm-evaluation-harness and inspect wrote (tests/outcome_files/write.py),
JSON lines, and files that are not what they should be."""

import json
import shutil
import zipfile

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
