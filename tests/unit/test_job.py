"""A job ends expected failures with one sentence, keeps the rest in its log."""

import errno

import pytest

from healscope.errors import HealscopeError
from healscope.job import job
from healscope.progress import Bar


def test_an_expected_failure_is_one_sentence(tmp_path, capsys):
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(SystemExit) as stop, job(str(log), 1):
        raise HealscopeError("a.parquet is broken; delete it and rerun")
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert "healscope: a.parquet is broken; delete it and rerun" in shown
    assert "Traceback" not in shown
    assert "a.parquet is broken" in log.read_text()


def test_a_full_disk_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit), job(str(tmp_path / "x.log"), 1):
        raise OSError(errno.ENOSPC, "No space left on device", "out.parquet")
    shown = capsys.readouterr().err
    assert "No space left on device out.parquet (free some disk" in shown


def test_a_bug_keeps_its_traceback_in_the_log(tmp_path):
    with pytest.raises(ZeroDivisionError), job(str(tmp_path / "x.log"), 1):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in (tmp_path / "x.log").read_text()


def test_progress_is_lines_inside_a_job(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("healscope.progress.SECONDS_BETWEEN_LINES", 0)
    with job(str(tmp_path / "x.log"), 1), Bar(3, "sft tiny seed 0") as bar:
        bar.delay = 0
        for _ in range(3):
            bar.note(loss=0.5)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert any("sft tiny seed 0" in line and "3/3" in line for line in lines)
    assert not any("\r" in line for line in lines)
