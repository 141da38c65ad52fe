"""A job ends expected failures with one sentence, keeps the rest in its log."""

import errno
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from snakemake import iocontainers

from healscope import gpus
from healscope.errors import HealscopeError
from healscope.job import job
from healscope.progress import Bar


def script(log, **resources):
    """What Snakemake puts into a script."""
    io = iocontainers
    return io.Snakemake(
        io.InputFiles(), io.OutputFiles(), io.Params(), io.Wildcards(), 1,
        io.ResourceList(fromdict=resources), io.Log([str(log)]), {}, "rule", None,
    )  # fmt: skip


def test_an_expected_failure_is_one_sentence(tmp_path, capsys):
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(SystemExit) as stop, job(script(log)):
        raise HealscopeError("a.parquet is broken; delete it and rerun")
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert "healscope: a.parquet is broken; delete it and rerun" in shown
    assert "Traceback" not in shown
    assert "a.parquet is broken" in log.read_text()


def test_the_backend_of_a_notebook_is_not_taken(tmp_path):
    """A notebook names one of its own environment, without which matplotlib cannot be imported."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_job import job, script\n"
        "with job(script(sys.argv[2])): import matplotlib; print(matplotlib.get_backend())"
    )
    arguments = [sys.executable, "-c", code, os.path.dirname(__file__), str(tmp_path / "x.log")]
    env = {**os.environ, "MPLBACKEND": "module://no_such_package.backend"}
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip().lower() == "agg", done.stderr


def test_a_full_disk_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit), job(script(tmp_path / "x.log")):
        raise OSError(errno.ENOSPC, "No space left on device", "out.parquet")
    shown = capsys.readouterr().err
    assert "healscope: No space left on device (" in shown
    assert "Traceback" not in shown


def test_a_bug_keeps_its_traceback_in_the_log(tmp_path):
    with pytest.raises(ZeroDivisionError), job(script(tmp_path / "x.log")):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in (tmp_path / "x.log").read_text()


def test_progress_is_lines_inside_a_job(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("healscope.progress.SECONDS_BETWEEN_LINES", 0)
    with job(script(tmp_path / "x.log")), Bar(3, "sft tiny seed 0") as bar:
        bar.delay = 0
        for _ in range(3):
            bar.note(loss=0.5)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert any("sft tiny seed 0" in line and "3/3" in line for line in lines)
    assert not any("\r" in line for line in lines)


def test_fewer_gpus_than_asked_for_end_the_job(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also true where there are some
    with pytest.raises(SystemExit), job(script(tmp_path / "x.log", gpu=2)):
        raise AssertionError("the body runs")
    shown = capsys.readouterr().err
    assert "this job asks for 2 GPUs, and torch sees 0 (CUDA_VISIBLE_DEVICES is '')" in shown
    assert "models.*.needs.*.gpus" in shown
    assert "Traceback" not in shown


def test_a_job_that_asks_for_no_gpu_and_needs_no_torch_does_not_import_it(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_job import script
from healscope.job import job
with job(script({str(tmp_path / "x.log")!r}, gpu=0)):
    assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def other_job(asked: int, tmp_path):
    """A process that claims GPUs of four, says which, and holds them until its stdin closes."""
    code = f"""
import sys
from contextlib import ExitStack
from healscope import gpus
with ExitStack() as held:
    print(gpus.claim(list("0123"), {asked}, held), flush=True)
    sys.stdin.read()
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip


def test_jobs_side_by_side_share_no_gpu_and_wait_for_what_is_held(tmp_path):
    first, second = other_job(1, tmp_path), other_job(2, tmp_path)
    taken = [eval(p.stdout.readline()) for p in (first, second)]
    assert sorted(map(len, taken)) == [1, 2]
    assert not set(taken[0]) & set(taken[1])
    third = other_job(2, tmp_path)
    assert "waits for 2 of 4 GPUs" in third.stderr.readline()
    second.kill()  # what a killed job held is free
    assert set(eval(third.stdout.readline())) & set(taken[1])
    for process in (first, second, third):
        process.communicate("")


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    """Four GPUs as torch would see them; locks lie in a folder of their own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setattr(
        "torch.cuda.device_count", lambda: len(os.environ.get(gpus.VISIBLE, "0,1,2,3").split(","))
    )


def test_a_job_sees_as_many_gpus_as_it_asked_for_and_none_that_is_held(tmp_path, four_gpus):
    other = other_job(1, tmp_path)
    (held_there,) = eval(other.stdout.readline())
    with ExitStack() as held:
        gpus.take(2, held)
        mine = os.environ[gpus.VISIBLE].split(",")
        assert mine == [name for name in "0123" if name != held_there][:2]
    other.communicate("")


def test_a_job_that_asks_for_all_gpus_sees_them_as_before(four_gpus):
    with ExitStack() as held:
        gpus.take(4, held)
    assert gpus.VISIBLE not in os.environ


def test_cuda_that_was_in_use_before_is_named(four_gpus, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)  # it no longer looks
    with (
        ExitStack() as held,
        pytest.raises(HealscopeError, match="asks for 1 of 4 GPUs, and still sees 4"),
    ):
        gpus.take(1, held)


def test_claims_end_with_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        with ExitStack() as held:
            assert gpus.claim(["0", "1"], 2, held) == ["0", "1"]
