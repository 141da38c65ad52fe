"""The wheel, installed as users install it: with the lowest and the newest versions of what it
needs, and with what trains, outside of a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runner import ROOT

MINIATURE = Path(__file__).parent / "miniature.py"


class Installed:
    """A virtual environment with the wheel in it, and a working directory."""

    def __init__(self, folder: Path, wheel: Path, lock: str, extras: str = ""):
        self.place, self.here = folder / "venv", folder / "here"
        self.here.mkdir()
        run([sys.executable, "-m", "venv", str(self.place)])
        pip = [str(self.place / "bin/python"), "-m", "pip", "install", "--quiet"]
        run([*pip, "--constraint", str(ROOT / f"envs/{lock}.txt"), f"{wheel}{extras}"])

    def __call__(self, command: str, *arguments: str, code: int = 0) -> str:
        """Run a command of the environment; return what it printed."""
        return run([str(self.place / "bin" / command), *arguments], self.here, code)


def run(command: list[str], here: Path | None = None, code: int = 0) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    given = {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=here, env=given, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    run([*command, "--wheel-dir", str(folder), str(ROOT)])
    (file,) = folder.glob("healscope-*.whl")
    return file


@pytest.fixture(scope="session", params=["lowest", "newest"])
def core(request, wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    installed = Installed(folder, wheel, request.param)
    installed("python", str(MINIATURE))
    return installed


def test_it_is_not_the_checkout(core):
    assert str(core.place) in core("healscope", "snakefile")


def test_an_adapter_is_held_against_its_base(core):
    assert "Moved most" in core("healscope", "weights", "base", "adapter")


def test_a_diagnosis_ends_with_its_page(core):
    asked = ["--data", "id.jsonl", "--ood", "ood.jsonl"]
    asked += ["--prompt", "question", "--answer", "answer", "--max-new-tokens", "4"]
    said = core("healscope", "diagnose", "base", "run", *asked, "--cores", "2")
    assert "# Diagnosis: mine" in said
    assert (core.here / "diagnosis/results/figures/fig_repair.png").is_file()
    made = core("healscope", "repair", "--edit", "swap-strength-0.5", "--out", "repaired")
    assert "repaired/README.md" in made


def test_result_files_are_compared(core):
    logs = ROOT / "tests/outcome_files/lm-eval"
    base, tuned = sorted(p for p in logs.iterdir() if p.is_dir())[:2]
    assert "base" in core("healscope", "compare", f"base={base}", f"sft={tuned}")


def test_a_task_is_checked(core):
    assert "FAIL" not in core("healscope", "check-task", "generalpoints")


def test_a_study_that_trains_says_what_it_needs(core):
    snakefile = core("healscope", "snakefile").strip()
    said = core("snakemake", "--snakefile", snakefile, "--cores", "1", "-n", code=1)
    assert "pip install 'healscope[train]'" in said


def test_a_study_is_run_by_the_workflow_in_the_wheel(wheel, tmp_path):
    installed = Installed(tmp_path, wheel, "core", "[workflow]")
    snakefile = installed("healscope", "snakefile").strip()
    config = str(Path(snakefile).parents[1] / "config/micro.yaml")
    assert "jobs to run" in installed("healscope", "plan", "--configfile", config)
    wanted = ["--configfile", config, "--cores", "2", "--", "results/figures/fig3a.pdf"]
    installed("snakemake", "--snakefile", snakefile, *wanted)
    assert (installed.here / "results/figures/fig3a.pdf").read_bytes().startswith(b"%PDF")
