"""One writer at a time, on this host and on others."""

import os
import threading
import time

import pytest

from healscope.errors import HealscopeError
from healscope.training.lock import Lock

ELSEWHERE = "node7 123 4567"  # host, process, Slurm job


def test_a_lock_that_was_closed_is_free(tmp_path):
    Lock(tmp_path / "x.lock", "x").close()
    assert (tmp_path / "x.lock").read_text() == ""
    Lock(tmp_path / "x.lock", "x").close()


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    first = Lock(tmp_path / "x.lock", "results/x")
    with pytest.raises(HealscopeError, match=f"works on results/x: process {os.getpid()} on "):
        Lock(tmp_path / "x.lock", "results/x")
    first.close()


def test_a_writer_on_another_host_that_is_silent_is_followed(tmp_path, capsys):
    (tmp_path / "x.lock").write_text(ELSEWHERE)
    Lock(tmp_path / "x.lock", "x", patience_s=0.3).close()
    said = capsys.readouterr().err
    assert "x goes on after process 123 on node7 (Slurm job 4567)" in said


@pytest.mark.parametrize("owner", [ELSEWHERE, "node7 123 -"], ids=["Slurm job", "no Slurm job"])
def test_a_writer_on_another_host_that_is_alive_is_left_alone(tmp_path, monkeypatch, owner):
    """Two processes outside of Slurm are no two lives of one job."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    file = tmp_path / "x.lock"
    file.write_text(owner)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.05):
            os.utime(file)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(HealscopeError, match="node7.*scancel"):
            Lock(file, "x", patience_s=10)
    finally:
        stop.set()
        thread.join()
    assert file.read_text() == owner


def test_a_job_that_slurm_starts_again_does_not_wait_for_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4567")
    (tmp_path / "x.lock").write_text(ELSEWHERE)
    Lock(tmp_path / "x.lock", "x", patience_s=3600).close()


def test_a_holder_keeps_its_file_young(tmp_path, monkeypatch):
    monkeypatch.setattr("healscope.training.lock.BEAT_S", 0.02)
    lock = Lock(tmp_path / "x.lock", "x")
    os.utime(tmp_path / "x.lock", (0, 0))
    deadline = time.monotonic() + 30
    while os.stat(tmp_path / "x.lock").st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    lock.close()
    assert os.stat(tmp_path / "x.lock").st_mtime > 0
