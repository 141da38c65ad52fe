"""`healscope diagnose`: the study that it writes, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from given import change
from safetensors.torch import load_file, save_file

from healscope import cli, diagnose
from healscope.errors import HealscopeError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a run of three checkpoints, and two files of questions."""
    monkeypatch.chdir(tmp_path)
    for step in (500, 1000, 1500):
        (tmp_path / f"runs/sft/checkpoint-{step}").mkdir(parents=True)
    for name in ("id", "ood"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "1+1?", "answer": "2"}\n')
    return tmp_path


OUT = diagnose.Path("diagnosis")
FILES = ("--data", "id.jsonl", "--ood", "ood.jsonl")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["runs/sft"], {500: "checkpoint-500", 1000: "checkpoint-1000", 1500: "checkpoint-1500"}),
        (["runs/sft/checkpoint-500"], {500: "checkpoint-500"}),
        (["7=runs/sft/checkpoint-500", "runs/sft/checkpoint-1000"],
         {7: "checkpoint-500", 1000: "checkpoint-1000"}),
    ],
)  # fmt: skip
def test_steps_are_found_in_folders_and_names(here, given, expected):
    found = diagnose.steps(given, OUT)
    assert found == {step: f"../runs/sft/{name}" for step, name in expected.items()}


def test_checkpoints_without_numbers_count_in_their_order(here):
    for name in ("early", "late"):
        (here / name).mkdir()
    assert diagnose.steps(["early", "late"], OUT) == {1: "../early", 2: "../late"}
    assert diagnose.steps(["me/early", "me/late@v3"], OUT) == {1: "me/early", 2: "me/late@v3"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["runs/sft/checkpoint-500", "runs"], "runs: its name has no step; give it as STEP=runs"),
        (["runs/sft", "runs/sft/checkpoint-500"], "are both step 500; give one as STEP=FOLDER"),
        (["0=base", "runs/sft"], "0=base: step 0 is the base itself"),
    ],
)
def test_steps_that_cannot_be_told_are_refused(here, given, message):
    with pytest.raises(HealscopeError, match=message):
        diagnose.steps(given, OUT)


@pytest.fixture
def written(here, monkeypatch):
    """Returns the config that a command writes; no model is looked at."""
    for name in ("check", "check_checkpoints", "cost"):
        monkeypatch.setattr(diagnose, name, lambda *_: None)

    def run(*arguments) -> dict:
        assert cli.main(["diagnose", *arguments, "--dry-run"]) == 0
        return yaml.safe_load((OUT / diagnose.CONFIG).read_text())

    return run


def test_files_and_branches_stand_in_the_config(here, written):
    (here / "ppo").mkdir()
    config = written(
        "my/base", "runs/sft", "--rl", "ppo", "--rl", "500=me/ppo@main", "--data", "id.jsonl",
        "--ood", "de=ood.jsonl", "--ood", "ood.jsonl", "--verdict", "number",
    )  # fmt: skip
    assert config["models"]["mine"]["source"] == "my/base"
    assert config["models"]["mine"]["rl"] == {1500: "../ppo", 500: "me/ppo@main"}
    task = config["tasks"]["asked"]
    assert task["id"] == "../id.jsonl"
    assert task["ood"] == {"de": "../ood.jsonl", "ood": "../ood.jsonl"}
    assert task["verdict"] == "number"
    assert "prompt" not in task


def test_files_are_seen_from_the_study_and_what_is_not_here_stays(here):
    (here / "sets").mkdir()
    for name in ("ood.jsonl", "more.parquet"):
        (here / "sets" / name).touch()
    given = ["sets/ood.jsonl", "sets/more.parquet#test", "me/far:part@v1#test"]
    assert diagnose.data_task(OUT, "healscope:facts", given, {})["ood"] == {
        "ood": "../sets/ood.jsonl",
        "more": "../sets/more.parquet#test",
        "far-part-v1": "me/far:part@v1#test",
    }
    assert diagnose.data_task(OUT, "healscope:facts", given, {})["id"] == "healscope:facts"


def test_enough_problems_see_five_points():
    """By simulation: paired verdicts of which a fifth are exchanged, and 5 points lost."""
    import numpy as np

    rng = np.random.default_rng(0)
    gained, lost = (diagnose.EXCHANGED + sign * diagnose.DETECTED for sign in (-1, 1))
    changes = rng.choice(
        [1, -1, 0], (4000, diagnose.ENOUGH), p=[gained / 2, lost / 2, 1 - diagnose.EXCHANGED]
    )
    ends = changes.mean(1) + 1.96 * changes.std(1) / diagnose.ENOUGH**0.5
    assert 0.77 < (ends < 0).mean() < 0.83


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no diagnosis/diagnosis.yaml to run again; name the base"),
        (["base", "runs/sft"], "give one of --data, --benchmarks, --task"),
        (["base", "runs/sft", "--data", "id.jsonl", "--task", "gp"], "not --data and --task"),
        (["base", "runs/sft", "--data", "id.jsonl"], "--data needs --ood FILE"),
        (["base", "--data", "id.jsonl", "--ood", "ood.jsonl"], "name checkpoints beside the base"),
        (["base", "runs/sft", "--benchmarks", "gsm8k"], "--benchmarks: name two or more"),
        (["base", "runs/sft", "--benchmarks", "a,b", "--verdict", "exact"], "go with --data"),
        (["base", "runs/sft", *FILES, "--out", "id.jsonl"], "id.jsonl is a file; name a folder"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(here, capsys, arguments, message):
    assert cli.main(["diagnose", *arguments]) == 3
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("healscope: ")
    assert said.count("\n") == 1
    assert not OUT.exists()


def test_another_config_in_the_folder_is_left_alone(written, capsys):
    given = ["my/base", "runs/sft", "--data", "id.jsonl", "--ood", "ood.jsonl"]
    config = written(*given)
    assert written(*given) == config  # the same command again
    assert cli.main(["diagnose", *given, "--verdict", "number", "--dry-run"]) == 3
    assert "says something else than this command" in capsys.readouterr().err


def truncated(file):
    file.write_bytes(file.read_bytes()[:-100])


def emptied(file):
    file.write_bytes(b"")


def deeper(file):
    change(file.parent / "config.json", num_hidden_layers=3)


def narrower(file):
    save_file({n: w[:-1].clone() for n, w in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, ".safetensors is damaged or cut short"),
        (emptied, ".safetensors is damaged or cut short"),
        (deeper, "sft-5): its config.json says num_hidden_layers = 3, that of the base"),
        (narrower, "is of shape"),
    ],
)
def test_checkpoints_are_looked_at_before_the_first_job(here, llama, capsys, spoil, message):
    """And what is refused leaves no config that its correction would differ from."""
    given = ["diagnose", *map(str, llama), *FILES, "--dry-run", "--out", str(here / OUT)]
    spoil(min(Path(llama[1]).glob("*.safetensors")))
    assert cli.main(given) == 3
    assert message in capsys.readouterr().err
    assert not (OUT / diagnose.CONFIG).exists()


def test_a_wrong_option_can_be_corrected(here, llama, capsys, monkeypatch):
    monkeypatch.setattr(diagnose, "cost", lambda _: "free")
    given = ["diagnose", *map(str, llama), *FILES, "--dry-run"]
    assert cli.main([*given, "--verdict", "numbr"]) == 3
    assert "there is no verdict 'numbr'" in capsys.readouterr().err
    assert cli.main([*given, "--verdict", "number"]) == 0
    assert cli.main([*given, "--cores", "0"]) == 3


CHILD = """
import sys, time
from healscope import diagnose
code = "import time; print('at work', flush=True); time.sleep(60)"
with diagnose.started([sys.executable, "-c", code]) as process:
    print(process.pid, flush=True)
    process.wait()
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_started_ends_with_it(by):
    heard = f"import signal; signal.signal({by}, signal.SIG_DFL)\n"  # even if these tests ignore it
    with subprocess.Popen([sys.executable, "-c", heard + CHILD], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE) as process:  # fmt: skip
        said = {process.stdout.readline().strip() for _ in range(2)} - {"at work"}
        process.send_signal(by)
        assert process.wait(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.pop()), 0)
