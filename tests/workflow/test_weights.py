"""Weights that nothing needs any more are deleted; what was made of them stands."""

import json

import pytest


@pytest.mark.long
def test_weights_go_and_nothing_reruns(copy):
    """All but landmarks; what asks for them later is told how to have them made again."""
    copy.config["checkpoints"] = {"keep": "landmarks"}
    folder = copy.folder / "results/checkpoints/micro/seed-0"
    marks = json.loads((copy.folder / "results/landmarks/micro/seed-0.json").read_text())
    roles = {mark["checkpoint"] for mark in marks["landmarks"].values()}
    names = {f.parent.name for f in folder.glob("*/checkpoint.json")}
    assert copy.plan() == {"drop_weights": len(names) - 3}  # base, End and RL are never asked about
    before = copy.inodes()
    copy.run()
    assert {f.parent.name for f in folder.glob("*/model.safetensors")} == roles
    assert {f.parent.name for f in folder.glob("*/checkpoint.json")} == names
    made = copy.inodes()
    new = {name for name in made if made[name] != before.get(name)}
    assert {name.rpartition("/")[2] for name in new} == {"dropped.json"}
    assert copy.plan() == {}

    gone = next(name for name in ("sft-0", "sft-4", "sft-12") if name not in roles)
    told = json.loads((folder / gone / "dropped.json").read_text())
    assert set(told["deleted"]) == {"model.safetensors"}
    later = f"results/training/micro/seed-0/rloo-from-{gone.removeprefix('sft-')}.parquet"
    message = copy.fails(later)
    manifest = f"results/checkpoints/micro/seed-0/{gone}/checkpoint.json"
    assert f"delete {manifest} and rerun to make them again" in message
    (copy.folder / manifest).unlink()
    assert copy.plan(later)["sft"] == 1
    copy.run(later)
    assert (folder / gone / "model.safetensors").is_file()
    assert set(copy.plan()) == {"drop_weights"}  # the same weights: what was made of them stands
