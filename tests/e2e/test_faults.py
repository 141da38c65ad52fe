"""What goes wrong on a cluster: each ends in one readable sentence, and a rerun goes on."""

import shutil
from pathlib import Path

import hub
import pytest
import small_disk
from runner import Workflow

from healscope import artifacts, provenance

pytestmark = pytest.mark.long  # each job is a process of its own, as for users

SFT = artifacts.path(artifacts.TRAINING, track="micro", seed=0, run="sft")
BASE = artifacts.path(artifacts.CHECKPOINT, track="micro", seed=0, checkpoint="base")
PROBLEMS = artifacts.path(artifacts.PROBLEMS, task="gp3")
WEIGHTS = str(Path(BASE).with_name("model.safetensors"))


def said(output: str) -> str:
    """The one sentence of a failed run."""
    sentences = {line for line in output.splitlines() if line.startswith("healscope: ")}
    sentences -= {line for line in sentences if "stopped; why a job failed is above" in line}
    assert len(sentences) == 1, output
    assert "Traceback" not in output
    return sentences.pop()


@pytest.fixture(scope="module")
def with_base(tmp_path_factory) -> Path:
    workflow = Workflow(tmp_path_factory.mktemp("with-base"))
    workflow.run(BASE, PROBLEMS)
    return workflow.folder


@pytest.fixture
def workflow(with_base, tmp_path) -> Workflow:
    """A run that has its base model; SFT comes next."""
    shutil.copytree(with_base, tmp_path / "copy")
    return Workflow(tmp_path / "copy")


def test_fewer_gpus_than_a_job_asks_for(workflow, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    workflow.config["models"]["micro"]["needs"] = {"sft": {"gpus": 1}}
    assert "asks for 1 GPU, and torch sees 0" in said(workflow.fails(SFT))
    workflow.config["models"]["micro"]["needs"] = {"sft": {"gpus": 0}}
    assert workflow.plan(SFT) == {"sft": 1}  # the rest was safe, and is not made again


def test_a_checkpoint_cut_short(workflow):
    file = workflow.folder / WEIGHTS
    before = provenance.sha256(file)
    with open(file, "r+b") as opened:
        opened.truncate(1000)
    assert f"{WEIGHTS} differs from what was saved; delete {BASE} and" in said(workflow.fails(SFT))
    (workflow.folder / BASE).unlink()
    workflow.run(BASE)
    assert provenance.sha256(file) == before


def test_the_disk_fills_while_sft_trains(workflow):
    """All of results is on that disk; it is freed, and the same command goes on."""
    shutil.copytree(workflow.folder / "results", workflow.folder.parent / "aside")
    output = small_disk.on_small_disk(
        workflow.folder / "results",
        "4m",
        f"""
import shutil, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from runner import Workflow
shutil.copytree({str(workflow.folder.parent / "aside")!r}, ".", dirs_exist_ok=True)
workflow = Workflow(Path.cwd().parent)
Path("ballast").write_bytes(bytes(shutil.disk_usage(".").free - 600_000))
print(workflow.fails({SFT!r}))
made = Path("checkpoints/micro/seed-0")
assert not list(made.glob("sft-*/checkpoint.json"))
saved = {{p.name: (p / "model.safetensors").stat().st_ino
          for p in Path(".state/micro/seed-0/sft/checkpoints").glob("*[0-9]")}}
assert saved, "it filled before anything was saved"
Path("ballast").unlink()
print("RERUN", workflow.run({SFT!r}))
assert (made / "sft-12/checkpoint.json").exists()
for name, inode in saved.items():  # those that were saved before are those that were published
    assert (made / name / "model.safetensors").stat().st_ino == inode
""",
    )
    failed, _ = output.split("RERUN")
    assert said(failed).startswith("healscope: No space left on device (0.0 GB where results")


def test_a_model_that_is_gated_until_its_licence_is_accepted(with_base, tmp_path, monkeypatch):
    workflow = Workflow(tmp_path / "fetched")
    workflow.config["models"]["micro"] = {"source": "owner/model", "check_random": False}
    with hub.serving((with_base / BASE).parent, "gated files") as server:
        for name, value in hub.environment(server.server_port, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        assert "model 'owner/model' is gated: accept its" in said(workflow.fails(BASE))
        server.answer = "all"
        workflow.run(BASE)
    assert provenance.sha256(workflow.folder / WEIGHTS) == provenance.sha256(with_base / WEIGHTS)
