"""Sections of a results page on several tasks: every number stands where its table has it."""

import near_tables
import pandas as pd
import task_tables

from healscope.findings import episodes, neighbours, task_claims, tasks
from healscope.findings.task_claims import QUESTIONS


def cells(text: str) -> list[list[str]]:
    """The tables of a text, cell by cell, without the line under the head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"}]


def shown(row: pd.Series, form: str = ".1f", column: str = "accuracy") -> str:
    return f"{row[column] * 100:{form}} [{row['low'] * 100:{form}}, {row['high'] * 100:{form}}]"


def test_landmarks_of_every_task():
    table = task_tables.task_landmarks().query("kind == 'measured'")
    head, *rows = cells(tasks.landmarks_section(table))
    assert head == ["task", "rule", "MaxOOD", "End", "RL", "instances"]
    assert [row[:2] for row in rows] == [
        [task, rule] for task in task_tables.PEAKS for rule in ("ID", "OOD")
    ]
    nav = table.query("task == 'nav' and rule == 'ood' and landmark == 'end' and seed == 'all'")
    assert rows[3] == [*rows[3][:3], shown(nav.iloc[0]), rows[3][4], "60"]


def test_curves_have_a_column_for_each_checkpoint_in_the_order_of_training():
    table = task_tables.task_curves()
    head, *rows = cells(tasks.curves_section(table.sample(frac=1.0, random_state=0)))
    steps = [int(name.rpartition("-")[2]) for name in head[2:]]
    assert steps == [*task_tables.STEPS, *task_tables.STARTS]
    for row in rows:
        for name, cell in zip(head[2:], row[2:], strict=True):
            place = {"task": row[0], "rule": row[1].lower(), "checkpoint": name, "seed": "all"}
            own = table[(table[list(place)] == pd.Series(place)).all(axis=1)]
            assert cell == shown(own.iloc[0])


def test_claims_say_all_tasks_at_once_and_then_each():
    rows = [
        {"task": task, "question": question, "verdict": "held", "effect": effect, "low": effect - 1,
         "high": effect + 1, "seeds": 2, "instances": 60, "source": "claims: some"}
        for task, effect in (("gp3", -0.25), ("nav", 0.125))
        for question in ("forgetting", "healing")
    ]  # fmt: skip
    found = cells(task_claims.section(pd.DataFrame(rows[:-1])))
    assert found[0] == ["claim", "gp3", "nav"]
    assert found[1] == [QUESTIONS["forgetting"], "yes -25.0", "yes +12.5"]
    assert found[2] == [QUESTIONS["healing"], "yes -25.0", "not asked"]
    assert [row[0] for row in found[3:]] == ["task", "gp3", "nav", "task", "gp3"]


def test_episodes_leave_out_what_was_trained_on():
    place = {"protocol": "exhaustive", "stage": "sft", "way": "first", "seed": "all"}
    rows = [
        {**place, "checkpoint": f"sft-{step}", "step": step, "rule": rule, "split": split,
         "measure": measure, "share": share, "low": share, "high": share}
        for step in (9, 100)
        for rule in ("id", "ood")
        for split, held in (("train", 0.9), ("held_out", 0.5))
        for measure, share in (("episode", held), ("step", held + 0.05))
    ]  # fmt: skip
    head, *found = cells(episodes.section(pd.DataFrame(rows)))
    assert head == ["protocol", "checkpoint", "rule", "episode, first", "step, first"]
    assert [row[1:3] for row in found] == [
        ["sft-9", "ID"], ["sft-9", "OOD"], ["sft-100", "ID"], ["sft-100", "OOD"],
    ]  # fmt: skip
    assert {tuple(row[3:]) for row in found} == {("50.0 [50.0, 50.0]", "55.0 [55.0, 55.0]")}


def test_neighbours_have_levels_and_paired_changes():
    table = near_tables.neighbours()
    head, *rows = cells(neighbours.section(table.sample(frac=1.0, random_state=0)))
    points = ["Base", "MaxOOD", "End", "RL"]
    assert head == ["differs in", "distance", *points, "MaxOOD to End", "End to RL"]
    places = [[kind, str(d)] for kind, ds in near_tables.DISTANCES.items() for d in ds]
    assert [row[:2] for row in rows] == places
    row = next(r for r in rows if r[:2] == ["target", "4"])
    own = table.query("neighbour == 'target' and distance == 4 and seed == 'all'")
    levels = own[own["since"] == ""].set_index("landmark")
    assert row[2:6] == [shown(levels.loc[name]) for name in ("base", "maxood", "end", "rl")]
    assert row[7] == shown(own[own["since"] == "end"].iloc[0], "+.1f")
