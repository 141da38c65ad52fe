"""Edits from weights to files of answers: made in memory, evaluated once, each with its file."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from healscope import provenance
from healscope.config import Evaluation, Protocol
from healscope.engines import HF
from healscope.evaluation.evaluate import Target, evaluate
from healscope.models import checkpoints
from healscope.models.stored import Stored
from healscope.spectra.factors import load
from healscope.spectra.sweep import Pair, Sweep
from healscope.tasks.posing import all_problems

ROLES = ["q", "down"]
NAMES = ["swap-rank-1", "swap-layers-2", "directions-rank-0.5", "directions-rank-0.5-as-noise"]


@pytest.fixture
def running(base_manifest, tables, task, tmp_path):
    """A pair of checkpoints, and all that `evaluate` wants but the variants."""
    model, tokenizer = checkpoints.load_model(base_manifest)
    parent = {n: w + 0.05 * torch.randn_like(w) for n, w in model.state_dict().items()}
    model.load_state_dict(parent)
    checkpoints.save_weights(tmp_path / "parent", model, tokenizer)
    folders = Path(base_manifest).parent, tmp_path / "parent"
    pair = Pair(*map(Stored, folders), *(load(folder, ROLES) for folder in folders))
    model, tokenizer = checkpoints.load_model(base_manifest)
    posed = all_problems(tables[0]).head(6)
    targets = [
        Target(n, "gp3", str(tmp_path / n / "gp3.parquet"), provenance.record({"edit": n}), {
            "track": "m", "seed": 0, "stage": "sft", "protocol": "exhaustive", "checkpoint": n,
            "task": "gp3"})
        for n in NAMES
    ]  # fmt: skip
    settings = Evaluation(max_new_tokens=3)

    def run():
        seen = []
        variants = Sweep(pair).variants(NAMES)
        forward = model.register_forward_pre_hook(lambda *_: seen.append(1))
        evaluate(HF(model, pair.target), tokenizer, variants, {"gp3": (task, posed)}, targets,
                 Protocol(), settings, "test")  # fmt: skip
        forward.remove()
        return seen

    return run, targets, model, pair


def test_every_edit_has_a_file_and_equal_weights_answer_once(running):
    run, targets, model, pair = running
    assert len(run()) == 3 * 3  # three sets of weights, three tokens
    tables = {t.variant: pd.read_parquet(t.file) for t in targets}
    one, two = tables["swap-rank-1"], tables["swap-layers-2"]
    assert one.drop(columns="checkpoint").equals(two.drop(columns="checkpoint"))
    assert set(two["checkpoint"]) == {"swap-layers-2"}
    far = {name: table[["from_target", "from_parent"]].iloc[0].tolist()
           for name, table in tables.items()}  # fmt: skip
    assert far["swap-rank-1"] == [1, 0]
    own, control = far["directions-rank-0.5"], far["directions-rank-0.5-as-noise"]
    assert control[0] == pytest.approx(own[0], rel=1e-4)
    assert control[1] > own[1]


def test_what_stands_is_not_asked_again_and_an_alias_alone_is(running):
    run, targets, model, pair = running
    run()
    assert run() == []
    whole = pd.read_parquet(targets[1].file)
    Path(targets[1].file).unlink()
    assert len(run()) == 3
    assert pd.read_parquet(targets[1].file).equals(whole)
    after = {n: w for n, w in model.state_dict().items() if n in pair.target}
    edited = {m.name for m in pair.target_factors}
    for name, w in after.items():
        assert torch.equal(w, pair.parent[name] if name in edited else pair.target[name])
