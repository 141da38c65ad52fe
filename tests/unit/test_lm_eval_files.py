"""By which files a benchmark is known: a change of what is asked is noticed, of others not.

The harness itself is not needed here, only that it seems to be there.
"""

from importlib import metadata, util

import pytest
import yaml
from runner import ROOT

from healscope import config
from healscope.errors import HealscopeError
from healscope.tasks import task_settings
from healscope.tasks.benchmarks import files as lm_eval_files


@pytest.fixture(autouse=True)
def harness(monkeypatch):
    """A version of the harness that is not installed."""
    monkeypatch.setattr(lm_eval_files, "version", lambda: "9.9")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Task `sums` with all that it can read, and `other`, in a folder; data beside it."""
    monkeypatch.chdir(tmp_path)
    files = {
        "tasks/sums.yaml": "include: _shared\ntask: sums\ndoc_to_text: !function own.text\n",
        "tasks/_shared": "include: ../outer.yaml\ndataset_path: json\ntag: few\n"
        "dataset_kwargs: {data_files: {test: [data/a.jsonl, 'data/more/*.jsonl']}}\n",
        "outer.yaml": "num_fewshot: 2\n",
        "tasks/own.py": "def text(doc): return 'a'\n",
        "tasks/deeper/second.yaml": "task: second\ntag: [few]\n",
        "tasks/group.yaml": "group: both\ntask: [sums, {task: other}]\n",
        "tasks/other.yaml": "task: other\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: data/other.jsonl}}\n",
        "tasks/odd.yaml": "- a list\n",
        "tasks/.hidden/not.yaml": "task: sums\n",
        "data/a.jsonl": "{}\n",
        "data/more/b.jsonl": "{}\n",
        "data/other.jsonl": "{}\n",
        "data/none.jsonl": "{}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def section(id: str = "sums", ood: str = "elsewhere", **more) -> dict:
    return {"family": "lm_eval", "id": [id], "ood": [ood], "include": "tasks", **more}


OF_SUMS = {
    "sums.yaml", "_shared", "outer.yaml", "own.py", "a.jsonl", "b.jsonl",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("sums", OF_SUMS),
        ("few", OF_SUMS | {"second.yaml"}),
        ("both", OF_SUMS | {"group.yaml", "other.yaml", "other.jsonl"}),
        ("elsewhere", {"own.py"}),
    ],
)
def test_a_change_of_what_a_task_reads_is_noticed_and_of_nothing_else(folder, name, read):
    """What is included, functions, data; for a group or tag of all its tasks."""
    before = lm_eval_files.code(section(name, "another"))
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = file.read_text()
        file.write_text(text + "# more\n")
        changed = lm_eval_files.code(section(name, "another")) != before
        assert changed == (file.name in read), file
        file.write_text(text)
    assert lm_eval_files.code(section(name, "another")) == before


def test_code_is_filled_in_or_insisted_on(folder):
    settings = task_settings(section())
    assert settings.code.startswith("lm_eval 9.9 sha256:")
    assert task_settings(settings.model_dump()) == settings
    (folder / "data/a.jsonl").write_text("{}{}\n")
    with pytest.raises(
        HealscopeError, match=r"code: the benchmarks are not what they were .*sha256"
    ):
        task_settings(settings.model_dump())
    hub = {"family": "lm_eval", "id": ["a"], "ood": ["b"]}
    assert task_settings(hub).code == "lm_eval 9.9"
    with pytest.raises(HealscopeError, match=r"\(they are lm_eval 9.9, not lm_eval 9.8\)"):
        task_settings(hub | {"code": "lm_eval 9.8"})


def test_a_moved_folder_is_the_same(folder):
    before = lm_eval_files.code(section())
    (folder / "moved").mkdir()
    for name in ("tasks", "outer.yaml"):
        (folder / name).rename(folder / "moved" / name)
    assert lm_eval_files.code(section(include=str(folder / "moved/tasks"))) == before


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tasks/sums.yaml", "task: [", "sums.yaml cannot be read .*correct it"),
        ("tasks/_shared", "include: sums.yaml", "includes itself"),
        ("tasks/sums.yaml", "include: absent\ntask: sums", "absent cannot be read"),
        ("data/other.jsonl", None, r"other.yaml reads data/other.jsonl, which is not there"),
    ],
)
def test_files_that_cannot_be_read_are_named(folder, file, text, said):
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(HealscopeError, match=said):
        task_settings(section("both"))


def test_data_of_a_hub_or_of_a_folder(folder):
    """Addresses are no files; of a data set in a folder every file counts."""
    (folder / "tasks/sums.yaml").write_text(
        "task: sums\ndataset_path: data/more\n"
        "dataset_kwargs: {data_files: {test: 'https://example.org/a.jsonl'}}\n"
    )
    read = lm_eval_files.read_files(folder / "tasks", ["sums"])
    assert set(read) == {"sums.yaml", "own.py", "b.jsonl"}
    (folder / "tasks/sums.yaml").write_text("task: sums\ndataset_path: nobody/nothing\n")
    assert set(lm_eval_files.read_files(folder / "tasks", ["sums"])) == {"sums.yaml", "own.py"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"include": "task"}, "include: task is no folder, seen from /"),
        ({"ood": ["sums"]}, "ood: 'sums' is in id too"),
        ({"id": []}, "id: List should have at least 1 item"),
        ({"id": "sums"}, "id: Input should be a valid list"),
        ({"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"held_out": 0.4}, "held_out: unknown key"),
    ],
)
def test_wrong_keys_are_named(folder, changes, said):
    study = {
        "study": "own",
        "tasks": {"bench": section() | changes},
        "train_on": "bench",
        "models": {"mine": {"source": "x/base", "sft": {5: "x/sft-5"}}},
    }
    with pytest.raises(HealscopeError, match=rf"tasks\.bench(: |\.){said}"):
        config.load(study)


@pytest.fixture
def example(folder):
    """The example, in a folder that holds its checkpoints; and its text."""
    text = (ROOT / "config/benchmarks.example.yaml").read_text()
    shown = yaml.safe_load(text)
    model = shown["models"]["mine"]
    for source in (model["source"], *model["sft"].values()):
        (folder / source).mkdir(parents=True)
        (folder / source / "config.json").write_text('{"num_hidden_layers": 28}')
        (folder / source / "model.safetensors").touch()
    return shown, text


def test_the_example_shows_and_explains_every_key(example):
    shown, text = example
    study = config.load(shown)
    assert study.own_checkpoints
    assert set(shown["tasks"]["bench"]) == set(type(study.tasks["bench"]).model_fields)
    lines = text.split("bench:")[1].split("train_on")[0].splitlines()
    assert not [line for line in lines if ":" in line and "#" not in line and "family" not in line]


def test_without_the_harness_one_sentence_says_how_to_get_it(monkeypatch, folder):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(HealscopeError, match="not installed: run `make lm-eval`"):
        task_settings(section())


def test_the_version_is_that_which_is_installed(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "version", lambda name: {"lm_eval": "1.2"}[name])
    assert lm_eval_files.version() == "1.2"
