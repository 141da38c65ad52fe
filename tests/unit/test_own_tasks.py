"""Tasks of one's own: found by path or entry point, and refused in one sentence each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from healscope import config, provenance
from healscope.errors import HealscopeError
from healscope.tasks import build, own, task_settings
from healscope.tasks.protocol import Task

ROOT = Path(__file__).parents[2]
GOOD = '''
from __future__ import annotations

from dataclasses import dataclass

from healscope.tasks.protocol import Problem, Rendering, Task


@dataclass(frozen=True, kw_only=True)
class Adding(Task):
    """What is a + b modulo the number that the prompt states?"""

    rendering: Rendering = "compact"
    modulus: int = 7
    ood: tuple[int, ...] = (5,)

    def problems(self, rule):
        for n in (self.modulus,) if rule == "id" else self.ood:
            for a in range(self.modulus):
                for b in range(self.modulus):
                    data = {"a": a, "b": b, "n": n}
                    yield Problem(f"{a}+{b}", rule, data, str((a + b) % n))

    def render(self, problem):
        return "{a} + {b} mod {n}".format(**problem.data)

    def verify(self, problem, text):
        return self.verdict("correct" if text == problem.answer else "wrong")
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "my_tasks/adding.py"
    place.parent.mkdir()
    place.write_text(GOOD)
    return place


def section(**more) -> dict:
    return {"family": "my_tasks/adding.py", **more}


def test_a_file_is_a_task_with_the_options_of_its_fields(file):
    settings = task_settings(section(options={"modulus": 3, "ood": [2, 4]}, held_out=0.2, seed=5))
    task = build("mine", settings)
    assert (task.name, task.modulus, task.ood) == ("mine", 3, (2, 4))
    assert (task.held_out, task.seed, task.rendering) == (0.2, 5, "compact")  # the class's own
    assert len(list(task.problems("ood"))) == 18
    assert settings.code == f"sha256:{provenance.sha256(file)}"
    again = task_settings(settings.model_dump(mode="json"))  # as a job reads it
    assert again == settings
    assert build("mine", again) == task


def test_an_absolute_path_is_the_same_task(file):
    task = build("mine", task_settings({"family": str(file)}))
    assert type(task) is type(build("mine", task_settings(section())))


def test_loading_leaves_nothing_behind(file):
    file.write_text(GOOD + "\nimport sys\nsys.path.insert(0, 'elsewhere')\nVERSION = 2\n")
    before, names = list(sys.path), set(sys.modules)
    cls = own.find("my_tasks/adding.py").cls
    assert sys.path == before
    assert set(sys.modules) - names == {cls.__module__}
    assert "adding" not in sys.modules
    assert [p.name for p in file.parent.iterdir()] == ["adding.py"]


def test_a_changed_file_is_other_code_even_within_a_second(file):
    first = task_settings(section())
    stamp = os.stat(file)
    file.write_text(GOOD.replace("(a + b) % n", "(a - b) % n"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as long, and as old
    second = task_settings(section())
    assert first.code != second.code
    answers = [p.answer for p in build("mine", second).problems("id")]
    assert answers[1] == "6"
    with pytest.raises(HealscopeError, match="code: my_tasks/adding.py is not what it was") as said:
        task_settings(first.model_dump(mode="json"))
    assert "start the run again" in str(said.value)


def test_other_processes_build_the_same(file):
    values = task_settings(section(options={"ood": [3]})).model_dump(mode="json")
    code = (
        "import json, sys; from healscope.tasks import task_settings;"
        "from healscope.tasks import build;"
        "task = build('mine', task_settings(json.load(sys.stdin)));"
        "print(json.dumps([p.problem_id + p.answer for p in task.problems('ood')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(values), text=True, capture_output=True,
        check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, cwd=file.parents[1],
    )  # fmt: skip
    here = build("mine", task_settings(values))
    assert json.loads(done.stdout) == [p.problem_id + p.answer for p in here.problems("ood")]


def test_no_path_of_this_machine_is_in_the_provenance(file):
    values = task_settings({"family": str(file)}).model_dump(mode="json")
    record = provenance.record({"task": values, "tasks": {"mine": values}})
    assert record["config"]["task"] == {**values, "family": "adding.py"}
    assert record["config"]["tasks"]["mine"]["family"] == "adding.py"
    assert str(file.parent) not in json.dumps(record)
    moved = provenance.record({"task": {**values, "family": "elsewhere/adding.py"}})
    assert moved["fingerprint"] == provenance.record({"task": values})["fingerprint"]
    assert moved["fingerprint"] != record["fingerprint"]


WRONG_FILES = {
    "raise OSError('no such table')": "cannot be imported, OSError in line 1: no such table; cor",
    "x = (": "cannot be imported, SyntaxError in line 1",
    "import sys\nsys.exit(3)": "cannot be imported, SystemExit in line 2: 3; correct the file",
    "import not_there_at_all": "ModuleNotFoundError in line 1.*install not_there_at_all",
    "import beside": "a task is one file, so that a change of it is noticed: move what it needs",
    "": "must hold one subclass of healscope.tasks.task.Task, but holds none; add it",
    "from healscope.tasks.protocol import Task": "but holds none; add it",
    GOOD + "class Other(Task): pass": "but holds Adding, Other; keep one",
    GOOD.replace("def render", "def tell"): "Adding in my_tasks/adding.py has no render; a task",
    GOOD.replace(
        "@dataclass(frozen=True, kw_only=True)", ""
    ): "has fields but is not a dataclass; pu",
    GOOD.replace("(frozen=True, kw_only=True)", ""): "TypeError in line 9: cannot inherit non-fro",
    GOOD.replace("modulus", "words"): "has a field 'words', which every task uses for something",
    GOOD.replace("modulus: int", "modulus: Whole"): "types of the fields.*'Whole' is not defined",
}


@pytest.mark.parametrize("text", WRONG_FILES, ids=lambda text: text[-30:].strip() or "empty")
def test_a_wrong_file_is_refused_in_one_sentence(file, text):
    (file.parent / "beside.py").write_text("")
    file.write_text(text)
    names = set(sys.modules)
    with pytest.raises(HealscopeError, match=f"^family: .*{WRONG_FILES[text]}") as said:
        task_settings(section())
    assert len(str(said.value).splitlines()) == 1
    assert "adding.py" in str(said.value)
    if "cannot be imported" in str(said.value):
        assert not {n for n in set(sys.modules) - names if "own_task" in n}


def test_of_a_class_and_its_subclass_the_subclass_is_meant(file):
    file.write_text(GOOD + "\nclass Subtracting(Adding):\n    pass\n")
    assert own.find("my_tasks/adding.py").cls.__name__ == "Subtracting"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"options": {"modulos": 3}},
            "options.modulos: .* no such option, it has modulus, ood",
        ),
        (
            {"options": {"modulus": "x"}},
            "options.modulus: .* cannot take 'x' .*; correct",
        ),
        ({"options": {"seed": 1}}, "options.seed: .* every task; put it beside options"),
        ({"rewards": {"joy": 1}}, "rewards has no joy; there are correct, wrong, no_answer"),
        ({"mixture": {"any": 1}}, "mixture has no any; there are id, ood"),
        ({"family": "my_tasks/add.py"}, "family: the file my_tasks/add.py cannot be read"),
        ({"family": "my_tasks"}, "family: there is no 'my_tasks'; built in are data, determinant"),
        ({"code": "sha256:0"}, "code: .* is not what it was when the run began"),
        ({"held_out": 0}, "held_out: Input should be greater than 0"),
        ({"shuffles": 3}, "shuffles: unknown key"),
    ],
)
def test_a_wrong_section_stops_the_study_with_its_name(file, more, expected):
    study = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    study["tasks"]["mine"] = section(**more)
    with pytest.raises(HealscopeError, match=expected) as said:
        config.load(study)
    assert "\n  tasks.mine" in str(said.value)
    assert len(str(said.value).splitlines()) == 2


def test_an_option_without_default_must_be_given(file):
    file.write_text(GOOD.replace("modulus: int = 7", "modulus: int"))
    with pytest.raises(HealscopeError, match="options.modulus: .* needs this option; give it"):
        task_settings(section())
    assert build("mine", task_settings(section(options={"modulus": 2}))).modulus == 2


def test_what_the_class_says_of_its_options_is_passed_on(file):
    checked = "    def __post_init__(self):\n        raise ValueError('modulus is odd')\n"
    file.write_text(GOOD + "\n" + checked)
    with pytest.raises(HealscopeError, match="refuses its options or another key: modulus is odd"):
        task_settings(section())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that offers a family by entry point; return its module's file."""

    def install(name: str, value: str, text: str = GOOD, version: str = "1.0") -> Path:
        info = tmp_path / f"site/{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{own.GROUP}]\nadding = {value}\n")
        place = tmp_path / f"site/{name}.py"
        place.write_text(text)
        return place

    monkeypatch.syspath_prepend(tmp_path / "site")
    yield install
    for name in ("summing", "other"):
        sys.modules.pop(name, None)


def test_an_installed_package_offers_a_family(package):
    place = package("summing", "summing:Adding")
    settings = task_settings({"family": "adding", "options": {"modulus": 2}})
    assert settings.code == f"summing 1.0 sha256:{provenance.sha256(place)}"
    task = build("mine", settings)
    assert isinstance(task, Task)
    assert (type(task).__module__, task.modulus) == ("summing", 2)
    place.write_text(GOOD + "VERSION = 2\n")
    assert own.find("adding").code != settings.code


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (
            "summing:Adder",
            GOOD,
            "of package summing .* cannot be imported, AttributeError",
        ),
        ("summing:dataclass", GOOD, "is not a subclass of healscope.tasks.task.Task; correct the"),
        ("summing:Adding", "import not_there_at_all", "cannot be imported, ModuleNotFoundError"),
        (
            "summing:Adding",
            GOOD.replace("def verify", "def judge"),
            "has no verify; a task defines",
        ),
    ],
)
def test_a_wrong_entry_point_is_refused(package, value, text, expected):
    package("summing", value, text)
    with pytest.raises(HealscopeError, match=f"family: .*{expected}") as said:
        task_settings({"family": "adding"})
    assert len(str(said.value).splitlines()) == 1


def test_a_family_that_two_packages_offer_is_refused(package):
    package("summing", "summing:Adding")
    package("other", "other:Adding")
    with pytest.raises(HealscopeError, match=r"by other \(other:Adding\) and summing \(summing:A"):
        task_settings({"family": "adding"})


def test_what_is_installed_is_named_beside_what_is_built_in(package):
    package("summing", "summing:Adding")
    with pytest.raises(HealscopeError, match="no .ading.; built in are .*gener.*offer adding"):
        task_settings({"family": "ading"})
