"""`healscope export` writes what the sweep makes, as a folder that loads, or says why not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import healscope
from healscope import cli
from healscope.models import checkpoints
from healscope.models.stored import Stored
from healscope.spectra import factors
from healscope.spectra.sweep import Pair, Sweep

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]


@pytest.fixture
def folders(model_and_tokenizer, tmp_path):
    """Two checkpoints, one a little away from the other; the target in bfloat16 and two shards."""
    model, tokenizer = model_and_tokenizer
    for name in ("parent", "target"):
        model.to(torch.float32 if name == "parent" else torch.bfloat16)
        model.save_pretrained(tmp_path / name, max_shard_size="30KB")
        tokenizer.save_pretrained(tmp_path / name)
        with torch.no_grad():
            for w in model.parameters():
                w.add_(0.3 * w.std() * torch.randn_like(w))
    return tmp_path / "target", tmp_path / "parent"


def run(target, parent, out, edit="directions-rank-0.5-layers-1", *more):
    given = {"--target": target, "--parent": parent, "--edit": edit, "--out": out}
    return cli.main(["export", *(str(x) for pair in given.items() for x in pair), *more])


def test_an_exported_edit_is_the_sweeps_in_the_targets_files(folders, tmp_path):
    out = tmp_path / "out"
    assert run(*folders, out) == 0
    target, parent, made = Stored(folders[0]), Stored(folders[1]), Stored(out)
    assert {n: f.name for n, f in made.files.items()} == {
        n: f.name for n, f in target.files.items()
    }
    assert len(set(made.files.values())) > 1
    known = [factors.load(folder, ROLES) for folder in folders]
    (variant,) = Sweep(Pair(target, parent, *known)).variants(["directions-rank-0.5-layers-1"])
    edited = dict(variant.weights())
    assert len(edited) == len(ROLES)
    for name, tensor in made.items():
        assert tensor.dtype == target[name].dtype
        assert torch.equal(tensor, edited.get(name, target[name]).to(tensor.dtype)), name
    stored = json.loads((out / "checkpoint.json").read_text())
    assert stored["provenance"]["config"]["from_target"] == variant.measured["from_target"]
    assert stored["provenance"]["config"]["edit"] == "directions-rank-0.5-layers-1"
    assert len(stored["provenance"]["inputs"]) == len({*target.files.values()}) + len(
        {*parent.files.values()}
    )


def test_an_exported_edit_loads_as_a_checkpoint(folders, tmp_path):
    assert run(*folders, tmp_path / "out", "swap") == 0
    model, tokenizer = checkpoints.load_model(tmp_path / "out/checkpoint.json")
    parent = Stored(folders[1])
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(model.state_dict()[name], parent[name].to(torch.bfloat16).float())
    assert len(tokenizer)
    assert not list(tmp_path.glob("*.part"))


def test_records_of_the_unedited_model_are_not_copied(folders, tmp_path):
    for name in ("logits.json", "checkpoint.json"):
        (folders[0] / name).write_text("{}")
    assert run(*folders, tmp_path / "out") == 0
    assert not (tmp_path / "out/logits.json").exists()
    assert "files" in json.loads((tmp_path / "out/checkpoint.json").read_text())


def test_what_cannot_be_exported_is_said_in_one_sentence(folders, tmp_path, capsys):
    target, parent = folders
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    other = tmp_path / "other"
    shutil.copytree(parent, other)
    from safetensors.torch import load_file, save_file

    for file in other.glob("*.safetensors"):
        save_file({n: w[:1].clone() for n, w in load_file(file).items()}, file)
    for arguments, expected in (
        ((target, parent, tmp_path / "out", "vectors"), "'vectors' is not KIND-SELECTOR-VALUE"),
        ((target, parent, tmp_path / "out", "swap-layer-7"), "selects nothing of a model with 2"),
        ((target, parent, full), "has files already; choose a new folder for --out"),
        ((target, tmp_path, tmp_path / "out"), "holds no weights"),
        ((target, other, tmp_path / "out"), "must hold the same architecture"),
    ):
        assert run(*arguments) == 1
        message = capsys.readouterr().err
        assert expected in message
        assert len(message.splitlines()) == 1
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()


def test_the_command_is_installed_under_its_name():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["healscope"].split(":")
    assert (module, function) == (cli.__name__, cli.main.__name__)


def test_the_module_runs_as_the_command_does_and_says_its_version():
    told = subprocess.run(
        [sys.executable, "-m", "healscope", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"healscope {healscope.__version__}\n"
