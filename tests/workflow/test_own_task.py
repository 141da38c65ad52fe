"""docs/own-task.md as it stands: its files, its commands, and what they print."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from runner import ROOT, Workflow

from healscope import artifacts, config, provenance
from healscope.tasks import build, own, task_settings
from healscope.tasks.own import OwnTask

PAGE = (ROOT / "docs/own-task.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = {
    found[1]: text for _, text in BLOCKS if (found := re.match(r"# (\S+\.(?:py|yaml))\n", text))
}
COMMANDS = [shlex.split(line) for kind, text in BLOCKS if kind == "sh" for line in text.split("\n")]
SHOWN = [text for kind, text in BLOCKS if kind == "text"]


class Page(Workflow):
    """The page's files in a folder, beside healscope's own configs, and its study."""

    def __init__(self, folder: Path, server=None):
        self.folder, self.server = folder, server
        for name, text in FILES.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (folder / "config").symlink_to(ROOT / "config")

    @property
    def file(self) -> Path:
        return self.folder / "my_tasks/sorting.py"

    def command(self, *args: str) -> list[str]:
        """The page's own, of the micro study; a target beside its figure comes behind."""
        (typed,) = [words for words in COMMANDS if "config/micro.yaml" in words]
        assert typed[0] == "snakemake"
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"),
            "--directory", str(self.folder), *self.absolute(typed[1:]), *args,
        ]  # fmt: skip

    def absolute(self, words: list[str]) -> list[str]:
        """Names of configs as they are seen from where tests start Snakemake."""
        return [str(self.folder / w) if w.endswith(".yaml") else w for w in words]

    def check(self) -> subprocess.CompletedProcess:
        (typed,) = [words for words in COMMANDS if words[:2] == ["healscope", "check-task"]]
        return subprocess.run(
            [sys.executable, "-m", "healscope.cli", *typed[1:]],
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def page(forks, tmp_path_factory) -> Page:
    """The page's micro study, finished."""
    workflow = Page(tmp_path_factory.mktemp("page"), forks)
    workflow.run()
    return workflow


@pytest.fixture
def fresh(server, tmp_path) -> Page:
    """The page's study before its first job; jobs touch their outputs."""
    return Page(tmp_path / "page", server)


def test_the_page_has_a_task_of_less_than_150_lines_and_its_studies():
    assert set(FILES) == {"my_tasks/sorting.py", "sorting.yaml", "my-checkpoints.yaml"}
    assert len(FILES["my_tasks/sorting.py"].splitlines()) < 150


def test_check_task_prints_what_the_page_shows(fresh):
    done = fresh.check()
    assert done.stdout == SHOWN[0]
    assert (done.returncode, done.stderr) == (0, "")


def test_check_task_finds_what_the_page_leaves_out(fresh):
    text = fresh.file.read_text()
    fresh.file.write_text(re.sub(r"    def words.*?\n\n", "", text, flags=re.DOTALL))
    done = fresh.check()
    assert SHOWN[1] in done.stdout
    assert done.returncode == 1


@pytest.mark.long
def test_the_study_of_the_page_trains_and_evaluates(page):
    assert (page.folder / "results/figures/fig1.pdf").stat().st_size > 0
    evaluated = {"protocol": "exhaustive", "track": "micro", "seed": 0, "task": "sorting"}
    for checkpoint in ("sft-0", "sft-12", "ppo-from-8"):
        file = page.folder / artifacts.path(
            artifacts.EVALUATION, checkpoint=checkpoint, **evaluated
        )
        rows = provenance.read_table(file)
        first = rows[(rows["sample"] == 0) & (rows["attempt"] == 1)]
        assert (first["rule"].value_counts() == 420).all()
        assert set(rows["outcome"]) <= {"correct", "wrong", "wrong_letters", "no_answer"}
        task = provenance.read_provenance(file)["config"]["task"]
        assert task["family"] == "sorting.py"
        assert task["code"] == f"sha256:{provenance.sha256(page.file)}"
    section = yaml.safe_load(FILES["sorting.yaml"])["tasks"]["sorting"]
    sorting = build("sorting", task_settings({**section, "family": str(page.file)}))
    paid = {**type(sorting).outcomes, **section["rewards"]}
    assert paid["wrong_letters"] != type(sorting).outcomes["wrong_letters"]
    assert {outcome: sorting.reward(outcome) for outcome in paid} == paid
    assert task["rewards"].items() >= section["rewards"].items()
    assert list(rows["reward"]) == [paid[outcome] for outcome in rows["outcome"]]
    assert page.plan() == {}


@pytest.mark.long
def test_no_place_of_the_file_is_in_the_results(page):
    place = str(page.folder)
    tables = [*page.folder.glob("results/**/*.parquet")]
    assert len(tables) > 8
    assert not [f for f in tables if place in str(provenance.read_provenance(f))]
    others = [f for f in page.folder.glob("results/checkpoints/**/checkpoint.json")]
    assert len(others) > 4
    assert not [f for f in others if place in f.read_text()]


def test_a_changed_file_makes_again_all_of_its_task(fresh):
    fresh.run()
    assert fresh.plan() == {}
    text = fresh.file.read_text()
    fresh.file.write_text(text + "# a comment\n")
    changed = fresh.plan()
    fresh.file.write_text(text)
    assert fresh.plan() == {}
    made = {"task_tables", "posed", "base_model", "sft", "rl", "landmarks", "table"}
    assert made <= set(changed)
    assert {"evaluate_sft_exhaustive_1", "evaluate_rl_exhaustive"} <= set(changed)


def test_a_changed_file_leaves_other_tasks_alone(fresh):
    tables = [artifacts.path(artifacts.PROBLEMS, task=task) for task in ("gp3", "sorting")]
    fresh.run("--until", "task_tables", *tables)
    assert all((fresh.folder / table).is_file() for table in tables)
    assert fresh.plan("--until", "task_tables", *tables) == {}
    fresh.file.write_text(fresh.file.read_text() + "# a comment\n")
    assert fresh.plan("--until", "task_tables", *tables) == {"task_tables": 1}
    before = (fresh.folder / tables[0]).stat().st_mtime_ns
    fresh.run("--until", "task_tables", *tables)
    assert (fresh.folder / tables[0]).stat().st_mtime_ns == before


def test_code_that_the_config_insists_on_must_be_there(fresh):
    values = yaml.safe_load(FILES["sorting.yaml"])
    values["tasks"]["sorting"]["code"] = f"sha256:{provenance.sha256(fresh.file)}"
    (fresh.folder / "sorting.yaml").write_text(yaml.safe_dump(values))
    wanted = artifacts.path(artifacts.PROBLEMS, task="sorting")
    assert fresh.plan("--until", "task_tables", wanted) == {"task_tables": 1}
    fresh.file.write_text(fresh.file.read_text() + "# a comment\n")
    said = fresh.fails("--dry-run")
    assert "tasks.sorting: code: my_tasks/sorting.py is not what it was when the run began" in said
    assert "Traceback" not in said


def test_the_checkpoints_of_the_page_can_be_evaluated(fresh, monkeypatch):
    for name in ("base", "sft-140", "sft-1100"):
        place = fresh.folder / "checkpoints" / name
        place.mkdir(parents=True)
        (place / "config.json").write_text('{"num_hidden_layers": 28}')
        (place / "model.safetensors").touch()
    monkeypatch.chdir(fresh.folder)
    loaded = config.load(yaml.safe_load(FILES["my-checkpoints.yaml"]))
    assert loaded.own_checkpoints
    assert loaded.tasks["sorting"].rendering == "json"


def test_the_page_shows_and_explains_every_key_of_the_section():
    text = FILES["sorting.yaml"]
    shown = yaml.safe_load(text)["tasks"]["sorting"]
    assert set(shown) == set(OwnTask.model_fields)
    of_task = text.split("sorting:\n")[1].split("train_on")[0].strip("\n").split("\n")
    assert all("#" in line for line in of_task)


def test_the_entry_point_of_the_page_is_found(tmp_path, monkeypatch):
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    points = tomllib.loads(text)["project"]["entry-points"]
    assert list(points) == [own.GROUP]
    info = tmp_path / "my_package-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 0.1\n")
    lines = [f"{name} = {value}" for name, value in points[own.GROUP].items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{own.GROUP}]", *lines]))
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/sorting.py").write_text(FILES["my_tasks/sorting.py"])
    monkeypatch.syspath_prepend(tmp_path)
    task = build("sorting", task_settings({"family": "sorting", "options": {"n_letters": 3}}))
    assert (type(task).__module__, task.n_letters) == ("my_package.sorting", 3)
    for name in ("my_package", "my_package.sorting"):
        sys.modules.pop(name)
