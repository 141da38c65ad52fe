"""Locks and recipes: all install by the same script, from files that are there."""

import re
import subprocess
import sys
from importlib import metadata

import pytest
import yaml
from runner import ROOT

LOCKS = sorted((ROOT / "envs").glob("*.txt"))
STEP = "sh envs/install.sh core"


def check(*locks) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "envs/check.py"), *map(str, locks)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.stem)
def test_a_lock_pins_every_package_exactly_and_once(lock):
    lines = [line.partition("#")[0].strip() for line in lock.read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("-")]
    assert pins
    pinned = re.compile(r"([\w.-]+)==[\w.+!]+( ?;.*| --hash=sha256:\w{64})?")
    names = [pinned.fullmatch(pin)[1].lower() for pin in pins]
    assert len(set(names)) == len(names)


def test_differences_from_a_lock_are_named(tmp_path):
    lock = tmp_path / "some.txt"
    lock.write_text(f"pytest=={metadata.version('pytest')}\npydantic==0.1\nno_such-package==1.0\n")
    done = check(lock)
    assert done.returncode == 1
    found = done.stderr
    installed = metadata.version("pydantic")
    assert f"pydantic==0.1 is in {lock}, and {installed} is installed" in found
    assert f"no-such-package==1.0 is in {lock}, and nothing is installed" in found
    assert f"numpy=={metadata.version('numpy')} is installed, and in no lock" in found
    assert "pytest==" not in found


def test_what_is_installed_here_is_what_a_lock_says(tmp_path):
    """Nothing is wrong with locks that name all of it, spelled as pip takes it, in two files."""
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    lines = [
        f"{name.upper().replace('-', '_')}=={version} ; python_version > '3'  # why\n"
        for name, version in installed.items()
    ]
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("".join(["--extra-index-url somewhere\n", "\n", *lines[::2]]))
    two.write_text("".join(lines[1::2]))
    assert check(one, two).returncode == 0
    assert check(one).returncode == check(two).returncode == 1


def test_recipes_call_the_script_and_copy_what_it_needs():
    docker = (ROOT / "envs/Dockerfile").read_text()
    apptainer = (ROOT / "envs/core.def").read_text()
    for text in (docker, apptainer, (ROOT / "envs/core.post-deploy.sh").read_text()):
        assert re.search(rf"{STEP}$", text, re.MULTILINE)
        assert "pip install" not in text
    assert f"{STEP} $(VENV)" in (ROOT / "Makefile").read_text()
    copied = {
        f for line in re.findall(r"^COPY (.*) \S+$", docker, re.MULTILINE) for f in line.split()
    }
    into_image = set(re.findall(r"^    (\S+) /opt/healscope/", apptainer, re.MULTILINE))
    assert copied == into_image == {
        "pyproject.toml", "README.md", "workflow", "config", "profiles", "src", "envs"
    }  # fmt: skip
    environment = yaml.safe_load((ROOT / "envs/core.yaml").read_text())
    assert environment["dependencies"] == ["python =3.11", "pip"]  # the rest is the script's


def test_the_script_refuses_what_it_does_not_know():
    done = subprocess.run(
        ["sh", "envs/install.sh", "cores"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "core|train|lm-eval|math|gym|mergekit|docs|vllm|slurm" in done.stderr
