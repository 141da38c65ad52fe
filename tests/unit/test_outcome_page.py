"""`healscope compare` as it is typed: exit codes, its page, and what it needs."""

import base64
import errno
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from outcome_tables import FILES, outcomes

from healscope import cli
from healscope.errors import HealscopeError
from healscope.outcomes import command, gate, page, words
from healscope.outcomes.comparing import compare

SCHEMA = json.loads(files("healscope.outcomes").joinpath("compare.schema.json").read_text())
HOSTILE = (
    '\x1b[2J</pre><script>alert(1)</script><img src=x onerror="alert(2)"> "\'>|`[a](http://x) '
    "\u202e\ud800"
)
SHOWN = HOSTILE.encode("utf-8", "replace").decode()
"""Hostile text as a report has it: half a pair of surrogates is no text."""


@pytest.fixture
def models(tmp_path):
    """Outcome files of three models on two benchmarks: sft loses 20 points of sums, rl half."""
    found = {}
    for model, lost in (("base", 0), ("sft", 40), ("rl", 20)):
        path = tmp_path / f"{model}.jsonl"
        right = [i < 160 - lost for i in range(200)]
        texts = [HOSTILE if i == 130 else f"{model} says {i}" for i in range(200)]
        unread = [not r and i < 150 for i, r in enumerate(right)]
        outcomes(path, right, text=texts, question=[f"{i}?" for i in range(200)], unread=unread)
        outcomes(path, [i % 5 > 0 for i in range(200)], group=HOSTILE)
        found[model] = path
    return found


def run(models, *more):
    return cli.main(["compare", *(f"{name}={path}" for name, path in models.items()), *more])


def report(models, **more):
    return compare([(name, [path]) for name, path in models.items()], **more)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("sums < -3", 1),  # rl lost 10 points of sums, by the interval at least 6
        ("any < -3", 1),
        ("sums < -30", 0),
        ("sums < -10", 2),
        ("sft: sums < -12", 1),
        ("mean < -30", 0),
        ("mean < -5", 2),
        ("sums < 0.5.5", 3),
        ("sums > 3", 3),
        ("nothing < -3", 3),
        ("base: sums < -3", 3),
        ("sums < -300", 3),
    ],
)
def test_exit_codes_of_conditions(models, condition, code, capsys):
    assert run(models, "--fail-if", condition) == code
    said = capsys.readouterr()
    if code == 3:
        assert said.err.startswith('healscope: --fail-if "')
        assert not said.out
    else:
        assert f"(exit code {code})" in said.out


def test_errors_of_any_kind_have_a_code_of_their_own(models, monkeypatch, capsys):
    assert run({"base": models["base"]}) == 3
    assert run(models, "--no-such-option") == 3
    assert run({**models, "rl": "/none"}) == 3
    for metrics in (["odd=acc"], ["sums="], ["sums=a", "sums=b"]):
        assert run(models, *(part for metric in metrics for part in ("--metric", metric))) == 3
    assert cli.main(["compare", "--help"]) == 0
    monkeypatch.setattr("healscope.outcomes.comparing.line_up", lambda *_: 1 / 0)
    assert run(models) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_the_system_refuses_is_named(models, monkeypatch, capsys):
    def closed(folder):
        raise PermissionError(errno.EACCES, "Permission denied", folder)

    monkeypatch.setattr("os.scandir", closed)
    for path, said in ((models["rl"].parent, "Permission denied"), ("a" * 300, "name too long")):
        assert run({**models, "rl": path}) == 3
        found = capsys.readouterr().err
        assert found.startswith(f"healscope: {path} cannot be read or written (")
        assert said in found


NAMES = {
    "runs/base runs/lr-1.5e-5 runs/lr-1.5e-4": ["base", "lr-1.5e-5", "lr-1.5e-4"],
    "base=runs/base tuned=runs/lr-1.5e-5 tuned=runs/lr-1.5e-4": ["base", "tuned"],
    "runs/base.jsonl runs/a=b/lr-1.5": ["base", "lr-1.5"],
    "runs/base/../sft .": ["sft", Path.cwd().name],
    "a/out b/out": "a/out and b/out are both called out; give them as NAME=PATH",
    "a=a/out b/a": "are both called a",
    "b/a a=a/out": "are both called a",
    "=a b=b": "'=a' lacks a name or a path; give it as NAME=PATH",
    "a= b=b": "'a=' lacks",
}


@pytest.mark.parametrize("given", NAMES)
def test_names_of_models(given):
    if isinstance(NAMES[given], list):
        assert list(command.named(given.split())) == NAMES[given]
    else:
        with pytest.raises(HealscopeError, match=NAMES[given]):
            command.named(given.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_and_a_reader_who_leaves(models, encoding):
    given = [f"{name}={path}" for name, path in models.items()]
    command = [sys.executable, "-m", "healscope.cli", "compare", *given]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    if encoding != "utf-8":
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        assert not done.stderr
        return
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=env)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_worst_condition_decides():
    assert gate.together([0, 2, 1, 0]) == 1
    assert gate.together([0, 2]) == 2
    assert gate.together([0]) == 0


def test_the_report_keeps_to_its_schema(models):
    found = report(models, fail_if=["any < -3"])
    jsonschema.validate(found, SCHEMA)
    assert (found["schema"], found["version"]) == ("healscope.compare", 1)
    jsonschema.validate(report(dict(list(models.items())[:2])), SCHEMA)
    logs = [(m, [FILES / "lm-eval" / m]) for m in ("base", "tuned")]
    by_metric = compare(logs)
    jsonschema.validate(by_metric, SCHEMA)
    assert [b["metric"] for b in by_metric["benchmarks"]] == ["exact_match,number", "acc,none"]
    for said in (words.markdown(by_metric), page.html(by_metric)):
        assert "exact_match,number: sums" in said
    jsonschema.validate(report(models, margin=0), SCHEMA)


def test_little_is_said_of_one_item(tmp_path, recwarn):
    given = {m: outcomes(tmp_path / f"{m}.jsonl", [m != "b"]) for m in "abc"}
    found = report(given, margin=0)
    jsonschema.validate(found, SCHEMA)
    assert found["best"] is None
    assert not recwarn.list
    (said,) = words.sentences(found)["What would decide it"]
    assert said == "sums, a to c: with a margin of 0, no number of items shows that nothing changes"


def test_what_the_report_says(models):
    found = report(models)
    changes = {(c["benchmark"], c["after"]): c for c in found["changes"]}
    sft = changes["sums", "sft"]
    assert (sft["lost"], sft["gained"], sft["verdict"]) == (40, 0, "lost")
    assert sft["change"] == pytest.approx(-0.2)
    assert (sft["unread_before"], sft["unread_after"], sft["lost_unread"]) == (0, 0.15, 30)
    assert sft["read_in_both"]["items"] == 170
    assert sft["chance_lost"] == pytest.approx(200 * 0.8 * 0.4)
    same = changes[SHOWN, "rl"]
    assert (same["change"], same["verdict"], same["unread_before"]) == (0, "no change", None)
    step = next(c for c in found["steps"] if (c["benchmark"], c["after"]) == ("sums", "rl"))
    assert (step["before"], step["gained"], step["verdict"]) == ("sft", 20, "gained")
    assert found["best"]["best"] == "rl"
    assert found["answer"].startswith("Against base, rl loses 10.0 points of sums; does not change")
    flips = [f for f in found["flips"] if (f["before"], f["after"]) == ("base", "sft")]
    assert [f["item"] for f in flips] == [str(i) for i in range(120, 130)]
    assert flips[0]["text_after"] == "sft says 120"


class Page(HTMLParser):
    """Elements and texts of a page; `self.scripts` is what would be run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        (self.scripts if self.tags[-1:] == ["script"] else self.texts).append(data)


def test_the_page_holds_hostile_text_as_text_and_nothing_from_outside(models):
    text = page.html(report(models, flips=20))
    found = Page(text)
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert not {name for name, _ in found.attributes if name.startswith("on")}
    assert not {name for name, _ in found.attributes} & {"src", "href"}
    assert "url(" not in text
    assert SHOWN in found.texts  # of the item, whole
    assert "sums, base to sft: 20 lost, 0 gained shown" in found.texts  # of 40 lost
    assert re.search(r"default-src 'none'.*script-src 'sha256-", html.unescape(text))


def test_a_diagnosis_and_its_figures_stand_in_the_page(models, tmp_path):
    """As text that can do nothing, whatever names of models and folders hold."""
    figure = tmp_path / "fig1.png"
    figure.write_bytes(b"\x89PNG\r\n")
    table = "| step | OOD |\n|---|---|\n| 32 | 3 |"
    about = f"# Diagnosis: mine\n\n1. Lost.\n\n## Where\n\n{table}\n\n"
    about += f"Of {HOSTILE[4:60]} and [there](javascript:alert(3)).\n"
    text = page.html(report(models), about, {'Accuracy "along" SFT': figure})
    found = Page(text)
    assert found.tags.count("script") == 1
    assert not any("alert" in script for script in found.scripts)
    assert not [v for name, v in found.attributes if name == "href"]
    assert not {name for name, _ in found.attributes if name.startswith("on")}
    assert ("src", "data:image/png;base64,iVBORw0K") in found.attributes
    assert ("alt", 'Accuracy "along" SFT') in found.attributes
    assert "Diagnosis: mine" not in text  # the answer is the title
    assert "Where" in found.texts
    assert found.tags.count("table") > Page(page.html(report(models))).tags.count("table")


def test_the_first_line_is_the_answer(models, capsys):
    run(models)
    said = capsys.readouterr().out
    assert said.startswith("Against base, rl loses 10.0 points of sums")
    assert not {"\x1b", "\u202e"} & set(said)
    text = page.html(report(models))
    assert html.unescape(re.search(r"<h1>(.*?)</h1>", text)[1]) == report(models)["answer"]


def test_files_are_written_whole_or_not_at_all(models, tmp_path):
    out = tmp_path / "new" / "out"
    assert run(models, "--out", str(out)) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(page.FILES)
    stored = json.loads((out / "compare.json").read_text())
    jsonschema.validate(stored, SCHEMA)
    assert (out / "compare.md").read_text().startswith("Against base, rl loses")
    assert str(tmp_path) not in "".join(p.read_text() for p in out.iterdir())
    assert run({**models, "rl": "/none"}, "--out", str(tmp_path / "none")) == 3
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(HealscopeError, match="cannot be written"):
        page.write(stored, tmp_path / "file")


def test_markdown_shows_texts_and_makes_nothing_of_them():
    shown = words.plain(HOSTILE + "\n# a")
    assert not {"\n", "\x1b", "\u202e"} & set(shown)
    assert not re.search(r"(?<!\\)[|`]|(?<!\\)<[a-z/]|\]\(", shown)
    assert words.plain("any < -3 of [1, 2]") == "any < -3 of [1, 2]"
    assert words.plain("~~a~~ _b_ __c__ arc_easy") == r"\~\~a\~\~ \_b\_ \_\_c\_\_ arc_easy"
    assert words.plain("https://a.b www.a.b") == r"https\://a.b www\.a.b"


PRESS = """
const head = [...document.querySelectorAll("th")].find((th) => th.textContent === "change [95%]");
const table = head.closest("table");
const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[5].dataset.key));
const found = { width: document.documentElement.scrollWidth, room: innerWidth };
for (const turn of ["up", "down"]) { head.firstChild.click(); found[turn] = column(); }
found.dark = getComputedStyle(document.body).backgroundColor;
document.documentElement.setAttribute("data-found", JSON.stringify(found));
"""
"""Presses a heading twice, as a reader would, and leaves what it sees on the root element."""


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's package chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser(models, tmp_path, dark):
    """At the width of a phone, with hostile texts: tables are sorted by the page's own script,
    which its policy allows by its hash, nothing is wider than the screen, no alert is shown."""
    text = page.html(report(models, flips=20)).replace("<details>", "<details open>")
    digest = base64.b64encode(hashlib.sha256(PRESS.encode()).digest()).decode()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", f"<script>{PRESS}</script></body>"))
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,844",
         f"--blink-settings=preferredColorScheme={0 if dark else 1}",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    found = json.loads(html.unescape(re.search(r'data-found="(.*?)"', done.stdout)[1]))
    changes = sorted(c["change"] for c in report(models)["changes"])
    assert found["up"] == changes
    assert found["down"] == changes[::-1]
    assert found["width"] <= found["room"] < 600
    assert (found["dark"] == "rgb(255, 255, 255)") is not dark


def test_no_torch_and_no_harness_is_loaded(models):
    code = (
        "import sys; from healscope import cli; cli.main(sys.argv[1:]); "
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'inspect_ai', 'matplotlib') "
        "if m in sys.modules])"
    )
    paths = [f"{m}={FILES / 'inspect' / 'eval' / m}" for m in ("base", "tuned")]
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *paths],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
