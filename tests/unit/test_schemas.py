"""Every table has a schema, and nothing that breaks it is written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healscope import artifacts, provenance, schemas
from healscope.errors import HealscopeError
from healscope.schema import ARROW, Column, Schema, check
from healscope.schemas import SCHEMAS, page
from healscope.tasks.cards.deals import PROBLEM_COLUMNS
from healscope.tasks.tables import COLUMNS
from healscope.training.schemas import BASE_LOG, RL_LOG

ROOT = Path(__file__).parents[2]

THINGS = Schema(
    "things",
    "results/things.parquet",
    "One thing.",
    (
        Column("rule", "string", "which rule", allowed=("", "id", "ood")),
        Column("n", "int", "how many", "things", low=0),
        Column("p", "float", "how often", "share", low=0, high=1),
        Column("loss", "float", "how bad", "nats per token", low=0, nullable=True),
        Column("right", "bool", "whether"),
        Column("by_seed", "floats", "each", "share", low=-1, high=1),
        Column("cards", "strings", "which", allowed=("A", "K")),
    ),
    ("rule", "n"),
)


def things(**changed) -> pd.DataFrame:
    """Three good rows, with some columns changed."""
    good = {
        "rule": ["id", "ood", ""],
        "n": [1, 1, 2],
        "p": [0.0, 0.5, 1.0],
        "loss": [0.1, None, 0.3],
        "right": [True, False, True],
        "by_seed": [[0.1, -0.2], [], [1.0]],
        "cards": [["A"], ["A", "K"], []],
    }
    return pd.DataFrame({**good, **changed})


def test_columns_come_in_order_with_types_units_and_meanings():
    table = check(things()[["cards", "p", "by_seed", "right", "n", "loss", "rule"]], THINGS)
    assert table.column_names == [c.name for c in THINGS.columns]
    assert table.schema.types == [ARROW[c.kind] for c in THINGS.columns]
    assert table.schema.field("p").metadata == {b"unit": b"share", b"about": b"how often"}
    assert table.schema.metadata == {b"table": b"things", b"about": b"One thing."}
    assert [f.nullable for f in table.schema] == [c.nullable for c in THINGS.columns]
    assert table["p"].to_pylist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "changed",
    [
        {"n": np.array([1, 1, 2], np.int32)},
        {"n": [1.0, 1.0, 2.0]},
        {"p": [0, 1, 1]},
        {"p": np.array([0, 0.5, 1], np.float32)},
        {"rule": pd.Categorical(["id", "ood", ""])},
        {"by_seed": [np.array([0.1]), np.array([]), np.array([1, 1])]},
        {"by_seed": [[], [], []]},
        {"loss": [float("nan")] * 3},
        {"loss": [None] * 3},
        {"loss": [-1e-8, 0.1, 0.2]},  # roundoff of a divergence
    ],
)
def test_what_loses_nothing_is_taken(changed):
    table = check(things(**changed), THINGS)
    assert table.schema.types == [ARROW[c.kind] for c in THINGS.columns]


def test_nan_is_a_missing_value():
    table = check(things(loss=[float("nan"), 0.2, None]), THINGS)
    assert table["loss"].to_pylist() == [None, 0.2, None]
    arrow = pd.Series([0.1, 0.2, float("nan")], dtype=pd.ArrowDtype(pa.float64()))
    assert check(things(loss=arrow), THINGS)["loss"].null_count == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"rule": ["id", "odd", ""]},
            "table things, column rule, row 1: 'odd' (allowed: string, empty, id, ood)",
        ),
        ({"rule": ["id", None, ""]}, "column rule, row 1: missing (allowed: string, empty, id"),
        ({"rule": [1, 2, 3]}, "column rule, row 0: 1 (int) (allowed: string"),
        ({"n": [0, -1, 2]}, "column n, row 1: -1 (allowed: int, from 0)"),
        ({"n": [0, 1.5, 2]}, "column n, row 1: 1.5 (float) (allowed: int, from 0)"),
        ({"n": ["0", "1", "2"]}, "column n, row 0: '0' (str) (allowed: int, from 0)"),
        ({"n": [0, "x", 2]}, "column n, row 1: 'x' (str) (allowed: int, from 0)"),
        ({"n": [True, False, True]}, "column n, row 0: True (bool) (allowed: int, from 0)"),
        ({"p": [0.0, 1.2, 7.0]}, "column p, row 1: 1.2 (allowed: finite float, 0 to 1)"),
        ({"p": [0.0, 0.1, float("nan")]}, "column p, row 2: missing (allowed: finite float, 0"),
        ({"loss": [0.0, float("inf"), 0.0]}, "column loss, row 1: inf (allowed: finite float, fr"),
        ({"right": [1, 0, 1]}, "column right, row 0: 1 (int) (allowed: bool)"),
        ({"right": [True, None, True]}, "column right, row 1: missing (allowed: bool)"),
        ({"by_seed": [[0.1], [0.2, 2.0], []]}, "column by_seed, row 1: 2.0 (allowed: finite fl"),
        ({"by_seed": [[0.1], [None], []]}, "column by_seed, row 1: missing (allowed: finite"),
        ({"by_seed": [0.1, 0.2, 0.3]}, "column by_seed, row 0: 0.1 (float) (allowed: finite"),
        ({"cards": [["A"], [], ["K", "X"]]}, "column cards, row 2: 'X' (allowed: strings, A, K)"),
        ({"cards": ["A", "K", "K"]}, "column cards, row 0: 'A' (str) (allowed: strings, A, K)"),
        (
            {"rule": ["id", "ood", "id"], "n": [1, 1, 1]},
            "table things: rows 0 and 2 are both rule='id', n=1 (allowed: one row for each rule, n",
        ),
        ({"extra": [1, 2, 3]}, "table things: columns unexpected: extra (allowed: rule, n, p, "),
    ],
)
def test_a_violation_is_refused_with_its_place_and_what_is_allowed(changed, message):
    with pytest.raises(HealscopeError) as error:
        check(things(**changed), THINGS)
    assert message in str(error.value)


def test_columns_that_are_missing_or_repeated_are_named():
    frame = things().drop(columns=["p", "loss"])
    with pytest.raises(HealscopeError, match="table things: columns missing: p, loss "):
        check(frame, THINGS)
    with pytest.raises(HealscopeError, match="columns repeated: n "):
        check(pd.concat([things(), things()[["n"]]], axis=1), THINGS)


def test_an_empty_frame_still_has_types():
    table = check(things().iloc[:0], THINGS)
    assert table.schema.types == [ARROW[c.kind] for c in THINGS.columns]


def log(**changed) -> pd.DataFrame:
    row = {"step": 1, "loss": 2.5, "learning_rate": 1e-3, "track": "m", "seed": 0, "run": "base"}
    return pd.DataFrame([{**row, **changed}])


def test_nothing_is_written_that_breaks_its_schema(tmp_path):
    file = tmp_path / "new" / "base.parquet"
    with pytest.raises(HealscopeError, match=r"base\.parquet is not written: table base-log, col"):
        provenance.write_table(file, log(loss=-1.0), {}, BASE_LOG)
    assert not file.parent.exists()
    provenance.write_table(file, log(), {"seeds": {}}, BASE_LOG)
    stored = pq.read_schema(file)
    assert stored.field("loss").metadata[b"unit"] == b"nats per token"
    assert stored.equals(BASE_LOG.arrow())
    assert provenance.read_provenance(file) == {"seeds": {}}
    pd.testing.assert_frame_equal(provenance.read_table(file), log())


def test_a_log_gets_the_columns_that_its_settings_left_out(tmp_path):
    fetched = BASE_LOG.complete(log()[["step", "track", "seed", "run"]])
    provenance.write_table(tmp_path / "base.parquet", fetched, {}, BASE_LOG)
    assert provenance.read_table(tmp_path / "base.parquet")["loss"].isna().all()
    with pytest.raises(HealscopeError, match="missing: step"):
        check(BASE_LOG.complete(log()[["run"]]), BASE_LOG)


def test_a_flag_that_was_never_logged_is_missing(tmp_path):
    """As a log of averaged weights has it: pandas fills with NaN, which is no bool."""
    row = {"iteration": 1, "track": "m", "seed": 0, "run": "average-from-4", "failure": ""}
    file = tmp_path / "average-from-4.parquet"
    provenance.write_table(file, RL_LOG.complete(pd.DataFrame([row])), {}, RL_LOG)
    assert pq.read_schema(file).equals(RL_LOG.arrow())
    assert provenance.read_table(file)["hacking_alarm"].isna().all()
    with pytest.raises(HealscopeError, match="column right, row 0: missing"):
        check(things(right=[float("nan")] * 3), THINGS)


def test_every_pattern_of_a_table_has_a_schema():
    names = {
        artifacts.PROBLEMS: "problems",
        artifacts.SFT_POOL: "sft-pool",
        artifacts.RL_POOL: "rl-pool",
        artifacts.POSED: "posed",
        artifacts.EVALUATION: "evaluation",
        artifacts.EDIT: "edit-evaluation",
        artifacts.probe("signals"): "signals-probe",
        artifacts.probe("hidden-states"): "hidden-states-probe",
        artifacts.COMPARISON: "comparison",
        artifacts.TRAINING.replace("{run}", "base"): "base-log",
        artifacts.TRAINING.replace("{run}", "diverse"): "sft-log",
        artifacts.TRAINING.replace("{run}", "ppo-from-140"): "rl-log",
        artifacts.TRAINING.replace("{run}", "sft_more-from-0"): "rl-log",
        artifacts.TABLE.replace("{table}", "signals"): "signals",
        artifacts.TABLE.replace("{table}", "reversion-rl"): "reversion",
        artifacts.TABLE.replace("{table}", "reversion-mine"): "reversion",
        artifacts.TABLE.replace("{table}", "repair"): "repair",
    }
    for pattern, name in names.items():
        file = "/somewhere/" + pattern.replace("{", "").replace("}", "")
        assert schemas.by_path(file).name == name
    with pytest.raises(HealscopeError, match=r"docs/tables\.md lists them"):
        schemas.by_path("results/tables/other.parquet")


def test_schemas_are_sound():
    for name, schema in SCHEMAS.items():
        columns = [c.name for c in schema.columns]
        assert len(set(columns)) == len(columns), name
        assert schema.key, name
        assert set(schema.key) <= set(columns), name
        for column in schema.columns:
            assert column.kind in ARROW, (name, column.name)
            assert column.about, (name, column.name)
            if column.name.endswith("_nats"):
                assert column.unit in ("nats per token", "nats"), (name, column.name)
            if column.name.startswith("accuracy") or column.name.endswith("_share"):
                assert column.high == 1, (name, column.name)
    problems = SCHEMAS["problems"]
    assert [c.name for c in problems.of(PROBLEM_COLUMNS).columns] == list(PROBLEM_COLUMNS)
    assert [c.name for c in problems.of(COLUMNS).columns] == list(COLUMNS)


def test_the_page_is_made_from_the_schemas():
    made = page(list(SCHEMAS.values()))
    assert (ROOT / "docs/tables.md").read_text() == made, "run `make schema`"


def test_schemas_need_no_torch():
    code = "import sys, healscope.schemas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
