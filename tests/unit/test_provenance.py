"""Files are whole or absent, carry where they came from, and broken ones are named."""

import importlib.util
import json
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from healscope import machine, provenance
from healscope.errors import HealscopeError
from healscope.training.schemas import BASE_LOG


def log(steps: int) -> pd.DataFrame:
    """A small table that has a schema."""
    rows = pd.DataFrame({"step": range(steps), "loss": 1.0, "learning_rate": 1e-3})
    return rows.assign(track="m", seed=0, run="base")


def test_table_carries_its_provenance(tmp_path):
    record = provenance.record({"lr": 1e-3}, {"seed": 0}, {"in": "abc"})
    provenance.write_table(tmp_path / "t.parquet", log(2), record, BASE_LOG)
    assert provenance.read_provenance(tmp_path / "t.parquet") == json.loads(json.dumps(record))
    assert list(provenance.read_table(tmp_path / "t.parquet")["step"]) == [0, 1]
    assert not list(tmp_path.glob("*.part"))


WHAT = ({"a": 1, "b": 2}, {"seed": 0}, {"f": "x", "g": "y"})


@pytest.mark.parametrize(
    "other",
    [
        ({"a": 1}, {"seed": 0}, {"f": "x", "g": "y"}),
        ({"a": 1, "b": 2}, {"seed": 1}, {"f": "x", "g": "y"}),
        ({"a": 1, "b": 2}, {"seed": 0}, {"f": "other", "g": "y"}),
        ({"a": 1, "b": 2}, {"seed": 0}, {"f": "x", "h": "y"}),
        ({"a": 1, "b": 2}, {"seed": 0}, {"f": "x"}),
        ({"a": 1, "b": 2}, {"seed": 0}, {}),
    ],
)
def test_fingerprint_depends_on_config_seeds_and_inputs(other):
    one = provenance.record(*WHAT)["fingerprint"]
    assert one == provenance.record({"b": 2, "a": 1}, *WHAT[1:])["fingerprint"]
    assert one != provenance.record(*other)["fingerprint"]


def test_a_record_holds_what_its_fingerprint_is_of(monkeypatch):
    found = provenance.record(*WHAT)
    assert (found["config"], found["seeds"], found["inputs"]) == WHAT
    what = {key: found[key] for key in ("config", "seeds", "inputs", "results_version")}
    assert provenance.fingerprint(what) == found["fingerprint"]
    assert found["results_version"] == provenance.RESULTS_VERSION
    monkeypatch.setattr(provenance, "RESULTS_VERSION", provenance.RESULTS_VERSION + 1)
    assert provenance.record(*WHAT)["fingerprint"] != found["fingerprint"]


def test_another_machine_or_code_makes_nothing_stale(monkeypatch):
    one = provenance.record(*WHAT)
    elsewhere = {"processor": "another", "threads": {"torch": 64}}
    monkeypatch.setattr(provenance.machine, "describe", lambda: elsewhere)
    monkeypatch.setattr(provenance, "code_version", lambda: {"commit": "another"})
    other = provenance.record(*WHAT)
    assert other["machine"] == elsewhere
    assert other["fingerprint"] == one["fingerprint"]


def test_a_record_describes_the_machine(monkeypatch):
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = provenance.record({})["machine"]
    assert found["processor"] == machine.processor() != ""
    assert found["python"] == platform.python_version()
    assert platform.system() in found["system"]
    assert found["blas"]["numpy"]
    assert found["blas"]["torch"]
    assert found["threads"] == {"torch": torch.get_num_threads(), "omp": 3}
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    assert found["accelerator"] == name
    described = machine.in_words(found)
    assert found["processor"] in described
    assert found["system"] in described
    assert (name or "no accelerator") in described


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    command = ["git", *who, *args]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def code_at(root: Path) -> dict:
    """What the copy of the package below `root` says of its code."""
    file = root / "src/healscope/provenance.py"
    spec = importlib.util.spec_from_file_location("copied_provenance", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_version()


@pytest.fixture
def checkout(tmp_path):
    """A folder that is laid out as a checkout is; in no git repository yet."""
    package = tmp_path / "mine/src/healscope"
    package.mkdir(parents=True)
    shutil.copy(provenance.__file__, package)
    (package / "other.py").write_text("a = 1\n")
    (tmp_path / "mine/workflow").mkdir()
    (tmp_path / "mine/workflow/rule.smk").write_text("rule a:\n")
    (tmp_path / "mine/results.txt").write_text("made\n")
    (tmp_path / "mine/.gitignore").write_text("__pycache__/\n")  # as the real one
    return tmp_path / "mine"


def committed(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD").strip()


def test_code_in_a_clean_checkout_is_known_by_its_commit(checkout):
    commit = committed(checkout)
    (checkout / "results.txt").write_text("made again\n")  # no code
    code = code_at(checkout)
    assert (code["commit"], code["modified"]) == (commit, False)
    words = provenance.code_in_words(code)
    assert words == f"healscope {code['healscope']}, commit {commit}"


@pytest.mark.parametrize(
    "changed",
    ["src/healscope/other.py", "src/healscope/new.py", "workflow/rule.smk", "workflow/Snakefile"],
)
def test_a_page_made_from_a_changed_tree_says_so(checkout, changed):
    commit = committed(checkout)
    (checkout / changed).write_text("b = 2\n")
    code = code_at(checkout)
    assert (code["commit"], code["modified"]) == (commit, True)
    made = provenance.made_by({"code": code, "fingerprint": "0" * 64})
    assert f"commit {commit} with uncommitted changes (sha256 of its files " in made


def test_a_page_made_outside_of_a_checkout_names_the_files_by_their_hash(checkout):
    one = code_at(checkout)
    assert (one["commit"], one["modified"]) == (None, None)
    made = provenance.made_by({"code": one, "fingerprint": "0" * 64})
    assert "None" not in made
    assert f"outside of a git checkout (sha256 of its files {one['files'][:16]})" in made
    (checkout / "src/healscope/other.py").write_text("a = 2\n")
    assert code_at(checkout)["files"] != one["files"]


def test_a_package_installed_below_another_repository_has_not_its_commit(checkout):
    outer = checkout.parent
    (outer / ".gitignore").write_text("mine\n")
    committed(outer)
    assert code_at(checkout)["commit"] is None


def test_a_truncated_table_is_named(tmp_path):
    file = tmp_path / "t.parquet"
    provenance.write_table(file, log(1000), {}, BASE_LOG)
    file.write_bytes(file.read_bytes()[:200])
    assert provenance.read_provenance(file) is None
    with pytest.raises(HealscopeError, match=r"t\.parquet is not a readable Parquet file"):
        provenance.read_table(file)


def test_a_truncated_json_is_named(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"a": ')
    with pytest.raises(HealscopeError, match=r"x\.json cannot be read"):
        provenance.read_json(file)


def test_no_machine_paths_in_provenance():
    """Nor the place of the package, of Python or of a user's own files."""
    mine = {
        "own": {"family": str(Path.home() / "my_tasks/own.py"), "code": "sha256:1"},
        "streets": {"routes": str(Path.home() / "routes.jsonl"), "routes_sha256": "2"},
    }
    text = json.dumps(provenance.record({"tasks": mine}, {"seed": 0}, {}))
    places = [Path.home(), Path.cwd(), Path(sys.prefix), Path(provenance.__file__).parent]
    assert not [place for place in places if str(place) in text]
    assert f'"{socket.gethostname()}"' not in text


def test_files_of_tasks_are_known_by_their_hash_and_name():
    for key, known in (("routes", "routes_sha256"), ("include", "code")):
        here, there = (
            provenance.record({"tasks": {"t": {key: f"{place}/data", known: "sha256:1"}}})
            for place in ("/home/me", "/scratch")
        )
        assert here["config"]["tasks"]["t"] == {key: "data", known: "sha256:1"}
        assert here["fingerprint"] == there["fingerprint"]
