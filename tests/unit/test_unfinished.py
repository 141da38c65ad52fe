"""What a job has evaluated stands, whatever Snakemake does to outputs of a job that fails."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healscope import artifacts, provenance
from healscope.evaluation import unfinished


def evaluation(step: int, model: str = "m") -> str:
    return artifacts.path(
        artifacts.EVALUATION, protocol="p", track=model, seed=0, checkpoint=f"sft-{step}", task="t"
    )


def write(file: str | Path, fingerprint: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(pd.DataFrame({"x": [fingerprint]}))
    record = b'{"fingerprint": "%s"}' % fingerprint.encode()
    pq.write_table(table.replace_schema_metadata({b"healscope": record}), file)


def fingerprint(file: str) -> str | None:
    return (provenance.read_provenance(file) or {}).get("fingerprint")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_job_that_ends_leaves_its_outputs_and_nothing_else():
    wanted = {evaluation(step): f"new-{step}" for step in (0, 10)}
    write(evaluation(0), "new-0")  # it stands
    standing = Path(evaluation(0)).stat().st_ino
    folder = unfinished.begin(wanted)
    assert fingerprint(unfinished.staged(folder, evaluation(0))) == "new-0"
    write(unfinished.staged(folder, evaluation(10)), "new-10")
    assert unfinished.publish(folder) == 2
    assert {file: fingerprint(file) for file in wanted} == wanted
    assert Path(evaluation(0)).stat().st_ino == standing
    assert not folder.exists()
    assert unfinished.keep_finished() == ""


@pytest.mark.parametrize("restored", [False, True])
def test_a_job_that_fails_keeps_what_stood_and_what_it_made(restored):
    """Of old versions that Snakemake restores, none is taken for a new one."""
    files = [evaluation(step) for step in (0, 10, 20)]
    wanted = {file: f"new-{file}" for file in files}
    for file in files:
        write(file, f"new-{file}" if file == files[0] else "old")
    folder = unfinished.begin(wanted)
    write(unfinished.staged(folder, files[1]), wanted[files[1]])
    for file in files:  # the job is killed
        Path(file).unlink()
        if restored and file != files[0]:
            write(file, "old")
    said = unfinished.keep_finished()
    assert "2 evaluations" in said
    assert [fingerprint(file) for file in files] == [wanted[files[0]], wanted[files[1]], None]
    assert not Path(files[2]).exists()
    assert not folder.exists()


def test_a_job_after_a_failed_one_goes_on_from_there():
    """Unless its config is another one by then."""
    files = [evaluation(step) for step in (0, 10)]
    folder = unfinished.begin(dict.fromkeys(files, "one"))
    write(unfinished.staged(folder, files[0]), "one")
    again = unfinished.begin(dict.fromkeys(files, "one"))
    assert again == folder
    assert fingerprint(unfinished.staged(again, files[0])) == "one"
    unfinished.begin(dict.fromkeys(files, "two"))
    write(files[0], "two")
    assert unfinished.keep_finished() == ""
    assert fingerprint(files[0]) == "two"


def test_outputs_that_came_from_something_else_are_not_staged():
    write(evaluation(0), "old")
    folder = unfinished.begin({evaluation(0): "new"})
    assert not unfinished.staged(folder, evaluation(0)).exists()
