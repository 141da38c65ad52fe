"""What goes wrong on a cluster: each ends in one readable sentence, and a rerun goes on."""

from runner import Workflow

SFT = "results/training/micro/seed-0/sft.parquet"
BASE = "results/training/micro/seed-0/base.parquet"


def said(output: str) -> str:
    """The one sentence of a failed run."""
    sentences = {line for line in output.splitlines() if line.startswith("healscope: ")}
    sentences -= {line for line in sentences if "a job failed; its reason is above" in line}
    assert len(sentences) == 1, output
    assert "Traceback" not in output
    return sentences.pop()


def test_fewer_gpus_than_a_job_asks_for(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    workflow = Workflow(tmp_path)
    workflow.config["models"]["micro"]["needs"] = {"sft": {"gpus": 1}}
    sentence = said(workflow.fails(SFT))
    assert "asks for 1 GPU, and torch sees 0" in sentence
    before = workflow.inodes()
    workflow.config["models"]["micro"]["needs"] = {"sft": {"gpus": 0}}
    workflow.run(SFT)
    after = workflow.inodes()
    base = "checkpoints/micro/seed-0/base/model.safetensors"
    assert after[base] == before[base]  # the base was safe
