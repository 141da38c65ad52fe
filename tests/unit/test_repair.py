"""`healscope repair` writes the edit that a study picked, with a card that says its worth."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from healscope import cli, diagnose
from healscope.findings.repair import PICK
from healscope.models.stored import Stored

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
        place = out / f"results/checkpoints/mine/seed-0/{name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(tmp_path / "run" / name)
    marks = {"maxood": {"checkpoint": "sft-8", "step": 8}, "end": {"checkpoint": "sft-32"}}
    file = out / "results/landmarks/mine/seed-0.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"track": "mine", "seed": 0, "landmarks": marks}))
    write(out, WORTH)
    return out


def write(out, worth, low=0.1):
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
             "keepers_low": [-0.03], "keepers_high": [0.01]}
        )  # fmt: skip
    file = out / "results/tables/repair.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(file)


def test_the_edit_that_costs_least_is_written_with_what_it_is_worth(finished, capsys):
    """0.30 is not 80% of 0.38; the straight step is cheaper than the ramp; noise is not offered."""
    assert cli.main(["repair", "diagnosis", "--out", "repaired"]) == 0
    made, before = Stored("repaired"), Stored("run/sft-32")
    assert any(not torch.equal(made[n], before[n]) for n in made)
    card = Path("repaired/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "sft-32"
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
    assert "mergekit.yaml" in Path("repaired/README.md").read_text()
    new, target, parent = (Stored(f) for f in ("repaired", "run/sft-32", "run/sft-8"))
    first, last = (f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1))
    assert torch.allclose(new[first], parent[first], atol=1e-6)
    assert torch.equal(new[last], target[last])


def test_a_repair_that_is_not_established_says_so(finished):
    write(finished, WORTH, low=-0.01)
    assert cli.main(["repair", "--out", "repaired"]) == 0
    assert (
        "**By that row the repair is not established.**" in Path("repaired/README.md").read_text()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no loss", "no loss is established: going back to sft-8"),
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
        write(finished, WORTH, low=-0.3)
    if change == "same":
        file = finished / "results/landmarks/mine/seed-0.json"
        file.write_text(file.read_text().replace("sft-32", "sft-8"))
    if change == "no table":
        (finished / "results/tables/repair.parquet").unlink()
    if change == "no study":
        (finished / "diagnosis.yaml").unlink()
    assert cli.main(["repair", "--out", "repaired", *more]) == 1
    assert said in capsys.readouterr().err
    assert not (finished.parent / "repaired").exists()
