"""Files are whole or absent, carry where they came from, and broken ones are named."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from healscope import provenance
from healscope.errors import HealscopeError


def log(steps: int) -> pd.DataFrame:
    """A small table that has a schema."""
    rows = pd.DataFrame({"step": range(steps), "loss": 1.0, "learning_rate": 1e-3})
    return rows.assign(model="m", seed=0, run="base")


def test_table_carries_its_provenance(tmp_path):
    record = provenance.record({"lr": 1e-3}, {"seed": 0}, {"in": "abc"})
    provenance.write_table(tmp_path / "t.parquet", log(2), record, "base-log")
    assert provenance.read_provenance(tmp_path / "t.parquet") == json.loads(json.dumps(record))
    assert list(provenance.read_table(tmp_path / "t.parquet")["step"]) == [0, 1]
    assert not list(tmp_path.glob("*.part"))


def test_fingerprint_depends_on_config_seeds_and_inputs_alone():
    one = provenance.record({"a": 1, "b": 2}, {"seed": 0}, {"f": "x"})["fingerprint"]
    assert one == provenance.record({"b": 2, "a": 1}, {"seed": 0}, {"f": "x"})["fingerprint"]
    for other in (({"a": 1}, {"seed": 0}, {"f": "x"}), ({"a": 1, "b": 2}, {"seed": 1}, {"f": "x"})):
        assert one != provenance.record(*other)["fingerprint"]


def test_a_truncated_table_is_named(tmp_path):
    file = tmp_path / "t.parquet"
    provenance.write_table(file, log(1000), {}, "base-log")
    file.write_bytes(file.read_bytes()[:200])
    assert provenance.read_provenance(file) is None
    with pytest.raises(HealscopeError, match=r"t\.parquet is not a readable Parquet file"):
        provenance.read_table(file)


def test_a_truncated_json_is_named(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"a": ')
    with pytest.raises(HealscopeError, match=r"x\.json cannot be read"):
        provenance.read_json(file)


def test_no_machine_paths_in_provenance():
    """Nor the place of the package, of Python or of a user's own files."""
    mine = {
        "own": {"family": str(Path.home() / "my_tasks/own.py"), "code": "sha256:1"},
        "streets": {"routes": str(Path.home() / "routes.jsonl"), "routes_sha256": "2"},
    }
    text = json.dumps(provenance.record({"tasks": mine}, {"seed": 0}, {}))
    places = [Path.home(), Path.cwd(), Path(sys.prefix), Path(provenance.__file__).parent]
    assert not [place for place in places if str(place) in text]


def test_files_of_tasks_are_known_by_their_hash_and_name():
    for key, known in (("routes", "routes_sha256"), ("include", "code")):
        here, there = (
            provenance.record({"tasks": {"t": {key: f"{place}/data", known: "sha256:1"}}})
            for place in ("/home/me", "/scratch")
        )
        assert here["config"]["tasks"]["t"] == {key: "data", known: "sha256:1"}
        assert here["fingerprint"] == there["fingerprint"]
