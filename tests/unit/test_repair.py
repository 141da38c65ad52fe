"""`healscope repair` writes the edit that a study picked, with a card that says its worth."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from healscope import cli, diagnose
from healscope.findings.repair import PICK
from healscope.models import checkpoints
from healscope.models.stored import Stored
from healscope.repair import COLUMNS
from healscope.repair.card import About, text

WORTH = {  # name -> (ID change, OOD change, of the way back)
    "swap-strength-0.5": (-0.02, 0.30, 0.5),
    "ramp": (-0.10, 0.36, 0.5),
    "threshold": (0.0, 0.05, 0.9),
    "ramp-as-straight": (-0.05, 0.33, 0.5),
    "trim-tail-0.5-as-noise": (0.0, 0.40, 0.5),
    "sft-8": (-0.20, 0.38, 1.0),
    PICK.format(0.8): (-0.04, 0.28, float("nan")),
}


@pytest.fixture
def finished(model_and_tokenizer, tmp_path, monkeypatch):
    """The folder of a diagnosis whose study is done: checkpoints, landmarks and the table."""
    model, tokenizer = model_and_tokenizer
    monkeypatch.chdir(tmp_path)
    for name in ("base", "run/sft-8", "run/sft-32"):
        model.save_pretrained(name)
        tokenizer.save_pretrained(name)
        with torch.no_grad():
            for w in model.parameters():
                w.add_(0.3 * w.std() * torch.randn_like(w))
    (tmp_path / "run/sft-32/README.md").write_text("the target's own card")
    for name in ("id", "ood"):
        rows = [{"question": f"{name} {i}?", "answer": str(i)} for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = Path("diagnosis").absolute()
    task = diagnose.data_task(out, "id.jsonl", ["ood.jsonl"], {"prompt": "question"})
    given = "base", ["8=run/sft-8", "32=run/sft-32"], [], task, 8
    diagnose.write(out, diagnose.study(out, *given))
    for name in ("sft-8", "sft-32"):
        staged = shutil.copytree(Path("run") / name, tmp_path / "staged" / name)
        place = out / f"results/checkpoints/mine/seed-0/{name}/checkpoint.json"
        checkpoints.publish(staged, place, {})
    marks = {"maxood": {"checkpoint": "sft-8", "step": 8}, "end": {"checkpoint": "sft-32"}}
    file = out / "results/landmarks/mine/seed-0.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"track": "mine", "seed": 0, "landmarks": marks}))
    write(out, WORTH)
    return out


def write(out, worth, low=0.1, high=-0.2):
    """Write the table of repairs; `low` is that of what is picked, `high` that of the loss."""
    rows = []
    for name, (price, gain, far) in worth.items():
        kind = "parent" if name == "sft-8" else "pick" if "cheapest" in name else name.split("-")[0]
        rows.append(
            {"name": name, "track": "mine", "kind": kind, "from_target": far, "picked":
             "swap-strength-0.5 or ramp" if kind == "pick" else "",
             "control": name.partition("-as-")[2], "healed": gain / 0.38, "kept": 1 + price,
             "id_change": price, "id_low": price - 0.03, "id_high": price + 0.03,
             "ood_change": gain, "ood_low": gain - 0.28 + low, "ood_high": gain + 0.1,
             "keepers": ["facts"], "keepers_unit": ["share"], "keepers_change": [-0.01],
             "keepers_low": [-0.03], "keepers_high": [0.01], "ood_by_seed": [gain]}
        )  # fmt: skip
    lost = {"track": "mine", "stage": "sft", "effect": -0.38, "low": -0.5, "high": high}
    lost |= {"edited": True}
    other = lost | {"edited": False, "effect": 0.1, "high": 0.2}  # of MaxOOD and End
    (out / "results/tables").mkdir(parents=True, exist_ok=True)
    for name, made in (("repair", rows), ("gate", [other, lost])):
        frame = pd.DataFrame(made).reindex(columns=COLUMNS[name])
        frame.to_parquet(out / f"results/tables/{name}.parquet")


def test_the_edit_that_costs_least_is_written_with_what_it_is_worth(finished, capsys):
    """0.30 is not 80% of 0.38; the straight step is cheaper than the ramp; noise is not offered."""
    assert cli.main(["repair", "diagnosis", "--out", "repaired"]) == 0
    made, before = Stored("repaired"), Stored("run/sft-32")
    assert any(not torch.equal(made[n], before[n]) for n in made)
    card = Path("repaired/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == ["sft-32", "sft-8"]
    assert "`ramp-as-straight`" in card
    assert "+28.0 [+10.0, +38.0]" in card  # on problems that did not pick it
    assert "swap-strength-0.5 and ramp" in card
    assert "This edit is not among those that the halves pick." in card
    assert "LiNeS, arXiv 2410.17146" in card
    assert "-1.0 [-3.0, +1.0]" in card  # of keeper facts
    assert "not established" not in card
    assert str(finished.parent) not in card
    record = json.loads(Path("repaired/checkpoint.json").read_text())["provenance"]["config"]
    assert record["edit"] == "ramp-as-straight"
    assert not (finished.parent / "repaired/mergekit.yaml").exists()
    assert "README.md" in capsys.readouterr().out


def test_an_edit_that_mergekit_can_make_has_its_config_beside_it(finished):
    assert cli.main(["repair", "--edit", "ramp", "--out", "repaired"]) == 0
    made = yaml.safe_load(Path("repaired/mergekit.yaml").read_text())
    assert made["base_model"] == "sft-8"
    assert made["models"][0]["model"] == "sft-32"
    card = Path("repaired/README.md").read_text()
    assert "mergekit.yaml" in card
    assert "named by hand" in card
    assert "picked" not in card
    assert "| `ramp` |" in card
    new, target, parent = (Stored(f) for f in ("repaired", "run/sft-32", "run/sft-8"))
    first, last = (f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1))
    assert torch.allclose(new[first], parent[first], atol=1e-6)
    assert torch.equal(new[last], target[last])


def test_a_repair_that_is_not_established_says_so(finished):
    write(finished, WORTH, low=-0.01)
    assert cli.main(["repair", "--out", "repaired"]) == 0
    assert (
        "**By the first row the repair is not established.**"
        in Path("repaired/README.md").read_text()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no loss", "no loss is established: OOD accuracy changes by -38.0 [-50.0, +1.0] points"),
        ("damaged", "repair.parquet is not a readable Parquet file"),
        ("changed weights", "checkpoints/mine/seed-0/sft-32"),
        ("same", "nothing to repair: sft-8 is the checkpoint"),
        ("no table", "run the study first"),
        ("no study", "is no folder of healscope diagnose"),
        ("other edit", "edit 'values' was not tried"),
        ("model", "no model 'theirs' in the study; there are mine"),
        ("seed", "has no seed 3"),
    ],
)
def test_what_cannot_be_repaired_is_said_and_nothing_is_written(finished, capsys, change, said):
    more = {"other edit": ["--edit", "values"], "model": ["--model", "theirs"],
            "seed": ["--seed", "3"]}.get(change, [])  # fmt: skip
    if change == "no loss":
        write(finished, WORTH, high=0.01)
    if change == "same":
        file = finished / "results/landmarks/mine/seed-0.json"
        file.write_text(file.read_text().replace("sft-32", "sft-8"))
    if change == "damaged":
        (finished / "results/tables/repair.parquet").write_bytes(b"PAR1")
    if change == "changed weights":
        place = finished / "results/checkpoints/mine/seed-0/sft-32"
        file = next(place.glob("*.safetensors"))
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
    if change == "no table":
        (finished / "results/tables/repair.parquet").unlink()
    if change == "no study":
        (finished / "diagnosis.yaml").unlink()
    assert cli.main(["repair", "--out", "repaired", *more]) == 1
    assert said in capsys.readouterr().err
    assert not (finished.parent / "repaired").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_edit_that_rounding_undoes_is_told(finished, capsys, dtype):
    """Steps of bfloat16 are larger than this update: a quarter of it is lost in the files."""
    for name, size in (("parent", 0.0), ("target", 1e-3)):
        shutil.copytree("base", name)
        generator = torch.Generator().manual_seed(0)
        weights = {
            n: (w + size * w.std() * torch.randn(w.shape, generator=generator)).to(dtype)
            if w.ndim == 2
            else w.to(dtype)
            for n, w in load_file("base/model.safetensors").items()
        }
        save_file(weights, f"{name}/model.safetensors", {"format": "pt"})
    given = ["--target", "target", "--parent", "parent", "--edit", "swap-strength-0.25"]
    assert cli.main(["export", *given, "--out", "edited"]) == 0
    about = json.loads(Path("edited/checkpoint.json").read_text())["provenance"]["config"]
    assert about["from_target"] == pytest.approx(0.25)
    target, parent, made = (Stored(f) for f in ("target", "parent", "edited"))
    name = [n for n in made if "_proj" in n]
    far = sum(float((made[n].double() - target[n].double()).square().sum()) for n in name)
    gap = sum(float((parent[n].double() - target[n].double()).square().sum()) for n in name)
    assert about["written_from_target"] == pytest.approx((far / gap) ** 0.5, rel=1e-6)
    away = "are rounded to the target's type" in capsys.readouterr().err
    assert away is (dtype == torch.bfloat16)
    assert away is (abs(about["written_from_target"] - 0.25) > 0.05 * 0.25)


def test_the_card_says_where_rl_started(finished):
    """Which need not be the checkpoint that is repaired."""
    rows = pd.read_parquet(finished / "results/tables/repair.parquet")
    healed = rows[rows["kind"] == "ramp"].head(1).assign(kind="rl", name="rl", control="")
    about = About("sft-32", "sft-8", "ramp", False, False, 0.95, 0.8, "sft-16")
    made = text(pd.concat([rows, healed]), about, defaultdict(float))
    assert "| RL from `sft-16` |" in made
