"""The workflow with engine vllm: checkpoints, RL and edits, each by one process a job."""

import json

import pandas as pd
from runner import Workflow

from healscope import provenance

EDITS = ("swap-rank-1", "values-rank-0.5")


def test_a_study_by_vllm(tmp_path, python):
    study = Workflow(tmp_path / "study")
    study.config["models"]["micro"]["scratch"]["architecture"].update(hidden_size=64, heads=2)
    study.config["vllm"] = {"python": python, "dtype": "float32"}
    study.config["evaluation"]["engine"] = study.config["rl"]["engine"] = "vllm"
    results = study.folder / "results"
    files = [f"results/edits/micro/seed-0/rl/{edit}/gp3.parquet" for edit in EDITS]
    study.run(*files)

    record = provenance.read_provenance(study.folder / files[0])
    assert record["engine"]["name"] == "vllm"
    assert record["engine"]["vllm"]
    assert record["config"]["vllm"] == {"dtype": "float32", "max_model_len": None}
    log = pd.read_parquet(results / "training/micro/seed-0/ppo-from-8.parquet")
    assert log["engine_gap_nats"].between(0, 1e-3).all()
    rl = results / "checkpoints/micro/seed-0/ppo-from-8/checkpoint.json"
    assert json.loads(rl.read_text())["provenance"]["engine"]["dtype"] == "float32"

    # RL's end as vLLM answers, and an edit that puts nothing of it back, as it should
    whole = pd.read_parquet(study.folder / files[0])
    assert set(whole["checkpoint"]) == {"swap-rank-1"}

    # where the process runs changes nothing; its precision does
    study.config["vllm"]["memory_share"] = 0.5
    assert study.plan(*files) == {}
    study.config["vllm"]["dtype"] = "bfloat16"
    assert {"rl", "edit_rl_1"} <= set(study.plan(*files))
