"""A node that dies while files are written: at no moment does half of a thing count as done."""

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.training.schemas import BASE_LOG
from healscope.training.state import Workspace

TOUCHING = {"open", "os.mkdir", "os.link", "os.chmod", "os.rename", "os.remove", "os.rmdir"}


def killed_before(event: int, work) -> bool:
    """Run `work` in a process that gets SIGKILL just before its file operation number `event`;
    False where it ended before that."""
    here = str(Path.cwd())
    child = os.fork()
    if child == 0:
        left = event

        def count(name, arguments):
            nonlocal left
            file = str(arguments[0]) if arguments else ""
            # those of shutil.rmtree are relative to a folder that it holds open
            if name in TOUCHING and (file[:1] != "/" or file.startswith(here)):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.addaudithook(count)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def at_every_moment(work):
    """Yield once for each file operation of `work`, killed before it; at the end it has run."""
    event = 0
    while killed_before(event, work):
        yield event
        event += 1
    assert event > 2


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def staged(tmp_path) -> Path:
    folder = tmp_path / "staged"
    folder.mkdir()
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"):
        (folder / name).write_text(name * 100)
    return folder


@pytest.mark.parametrize("before", ["nothing", "an older checkpoint"])
def test_publishing(staged, tmp_path, before):
    manifest = tmp_path / "sft-4" / checkpoints.MANIFEST
    for _ in at_every_moment(lambda: checkpoints.publish(staged, manifest, {"new": True})):
        assert not manifest.exists() or checkpoints.verify(manifest)["provenance"] == {"old": True}
        checkpoints.publish(staged, manifest, {"again": True})  # the rerun
        assert checkpoints.verify(manifest)["provenance"] == {"again": True}
        assert {f.name for f in manifest.parent.iterdir()} == {
            *(f.name for f in staged.iterdir()),
            checkpoints.MANIFEST,
        }
        if before == "an older checkpoint":
            (staged / "old").write_text("of another architecture")
            checkpoints.publish(staged, manifest, {"old": True})
            (staged / "old").unlink()
        else:
            manifest.unlink()  # as Snakemake does before a rerun
    assert checkpoints.verify(manifest)["provenance"] == {"new": True}
    assert not (manifest.parent / "old").exists()


def test_json_and_tables(tmp_path):
    old, new = pd.DataFrame({"step": [0]}), pd.DataFrame({"step": [0, 1]})

    def write(rows):
        provenance.write_json(tmp_path / "x.json", {"rows": len(rows)})
        rows.to_parquet(tmp_path / "other")  # pyarrow's threads are there before the fork
        table = rows.assign(loss=1.0, learning_rate=1.0, track="m", seed=0, run="base")
        provenance.write_table(tmp_path / "x.parquet", table, {}, BASE_LOG)

    write(old)
    for _ in at_every_moment(lambda: write(new)):
        assert provenance.read_json(tmp_path / "x.json")["rows"] in (1, 2)
        assert len(provenance.read_table(tmp_path / "x.parquet")) in (1, 2)
        write(old)
    assert provenance.read_json(tmp_path / "x.json")["rows"] == 2
    assert len(provenance.read_table(tmp_path / "x.parquet")) == 2


def test_states_and_staged_checkpoints(tmp_path):
    def save():
        work = Workspace(tmp_path / "w", "x")
        work.save(2, {"a": torch.full((3,), 2.0)}, [{"step": 2}])
        with work.stage("sft-2") as folder:
            (folder / "weights").write_text("whole")

    work = Workspace(tmp_path / "w", "x")
    work.save(1, {"a": torch.ones(3)}, [{"step": 1}])
    work._lock.close()
    for _ in at_every_moment(save):
        work = Workspace(tmp_path / "w", "x")
        state = work.latest()
        assert state.tensors["a"].tolist() == [state.step] * 3
        assert state.rows == [{"step": state.step}]
        if work.staged("sft-2").exists():
            assert (work.staged("sft-2") / "weights").read_text() == "whole"
        work.save(1, {"a": torch.ones(3)}, [{"step": 1}])
        work._lock.close()
    work = Workspace(tmp_path / "w", "x")
    assert work.latest().step == 2


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_weights_follow_the_umask(base_manifest, tmp_path, mask):
    """safetensors alone makes them 0600, which colleagues on a cluster cannot read."""
    from healscope.spectra import factors

    before = os.umask(mask)
    try:
        work = Workspace(tmp_path / "w", "x")
        work.save(1, {"a": torch.ones(3)}, [])
        model, tokenizer = checkpoints.load_model(base_manifest)
        checkpoints.save_weights(tmp_path / "staged", model, tokenizer)
        checkpoints.publish(tmp_path / "staged", tmp_path / "c" / checkpoints.MANIFEST, {})
        stored = factors.load(base_manifest, ["q"], tmp_path / "cache")
        factors.write(tmp_path / "factors.json", stored, {})
    finally:
        os.umask(before)
    files = [f for name in ("w", "c", "cache") for f in (tmp_path / name).rglob("*")]
    files = [f for f in files if f.is_file()]
    assert any(f.suffix == ".safetensors" and f.parent.name == "cache" for f in files)
    assert {oct(f.stat().st_mode & 0o777) for f in files} == {oct(0o666 & ~mask)}


def test_a_damaged_checkpoint_is_named_with_what_to_do(staged, tmp_path):
    manifest = tmp_path / "c" / checkpoints.MANIFEST
    file = manifest.parent / "model-2.safetensors"

    def refused(damage, why):
        checkpoints.publish(staged, manifest, {})
        file.unlink()  # a link to the staged one
        damage()
        with pytest.raises(HealscopeError, match=f"model-2.safetensors {why}.*delete .*and rerun"):
            checkpoints.verify(manifest)

    whole = (staged / file.name).read_bytes()
    refused(lambda: file.write_bytes(whole[:-7]), "differs from what was saved")
    refused(lambda: file.write_bytes(whole[:-1] + b"#"), "differs from what was saved")
    refused(lambda: None, "is missing")


@pytest.fixture
def sharded(base_manifest, tmp_path) -> Path:
    """A model of one's own, in several files, as large ones are."""
    model, tokenizer = checkpoints.load_model(base_manifest)
    model.save_pretrained(tmp_path / "own", max_shard_size="50KB")
    tokenizer.save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def test_a_source_with_a_shard_missing_or_cut_short(sharded, tmp_path):
    from healscope.config import Model
    from healscope.training.base import fetch

    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    whole = shard.read_bytes()

    def refused(why):
        with pytest.raises(HealscopeError, match=f"{shard} {why}.*fetch or make it again"):
            fetch(Model(source=str(sharded), check_random=False), work)

    work = Workspace(tmp_path / "w", "x")
    shard.write_bytes(whole[:-9])
    refused("is damaged or cut short")
    shard.unlink()
    with pytest.raises(ValueError, match=f"lacks {shard.name}, which its index names"):
        Model(source=str(sharded), check_random=False)
    shard.write_bytes(whole)  # the rerun
    fetch(Model(source=str(sharded), check_random=False), work)
    assert (work.staged("base") / "model.safetensors").is_file()
