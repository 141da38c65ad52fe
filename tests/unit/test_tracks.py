"""Several training tasks in one study: tracks, episodes, and tables with all tasks side by side."""

import copy

import numpy as np
import pandas as pd
import pytest
import task_tables

from healscope import artifacts, config, provenance
from healscope.config import Statistics
from healscope.config.tracks import track_facts
from healscope.errors import HealscopeError
from healscope.evaluation import landmarks
from healscope.figures import looks
from healscope.figures.catalogue import FIGURES, render
from healscope.findings import rows, task_claims, tasks
from healscope.schema import check
from healscope.schemas import SCHEMAS
from healscope.slurm import explain
from healscope.tasks.navigation.navigation import Navigation

SETTINGS = Statistics(resamples=100)
NAV = {"family": "navigation", "rendering": "compact", "generated": 30, "legs": [2, 2]}


@pytest.fixture
def data(study):
    return copy.deepcopy(study.model_dump(mode="json"))


def two(data, **more):
    data["tasks"]["nav"] = NAV
    return config.load({**data, "train_on": ["gp3", "nav"], **more})


def test_the_first_task_keeps_the_models_name(data):
    study = two(data)
    assert list(study.tracks) == study.followed == ["micro", "micro.nav"]
    assert study.model_of("micro.nav") == study.models["micro"]
    assert (study.task_of("micro"), study.task_of("micro.nav")) == ("gp3", "nav")
    assert config.load({**data, "train_on": ["nav", "gp3"]}).task_of("micro") == "nav"


def test_a_task_that_is_not_trained_on_can_be_asked_for(data):
    data["tasks"]["nav"] = NAV
    study = config.load(data)
    assert study.followed == ["micro"]
    assert list(study.tracks) == ["micro", "micro.nav"]
    # a model from scratch has no words for the other family
    assert study.evaluated("micro") == ["gp3"]
    assert study.evaluated("micro.nav") == ["nav"]


def test_a_track_that_is_not_followed_can_have_branches_of_its_own(data):
    data["tasks"]["sums"] = data["tasks"]["gp3"] | {"targets": [24, 77]}  # 77: a word of its own
    data["models"]["other"] = data["models"]["micro"] | {"followed": False}
    with pytest.raises(HealscopeError, match="no word for 77, as .*; add 'sums' to train_on"):
        config.load(data)
    data["rl"]["branches_of"] = {"micro.sums": {"grpo": [8, 0]}, "other": {"rft": [8]}}
    study = config.load(data)
    assert study.followed == ["micro"]
    assert study.beside == {"micro.sums": ["grpo-from-0", "grpo-from-8"], "other": ["rft-from-8"]}
    assert study.evaluated("micro") == ["gp3"]
    assert study.evaluated("micro.sums") == ["sums"]


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"micro": {"ppo": [8]}}, "rl.branches_of.micro: no track that is not followed"),
        ({"micro.nav": {"ppo": [7]}}, r"rl.branches_of.micro.nav.ppo: step 7 is not in"),
        ({"micro.nav": {"pop": [8]}}, "no recipe 'pop'"),
        ({"micro.nav": {"ppo": []}}, "rl.branches_of.micro.nav.ppo"),
    ],
)
def test_branches_that_no_track_can_have_are_refused(data, beside, said):
    data["tasks"]["nav"] = NAV
    data["rl"]["branches_of"] = beside
    with pytest.raises(HealscopeError, match=said):
        config.load(data)


def test_some_model_is_followed(data):
    data["models"]["micro"]["followed"] = False
    with pytest.raises(HealscopeError, match="at least one has to be followed"):
        config.load(data)


def test_a_model_from_elsewhere_is_asked_tasks_beside_its_own(data):
    data["tasks"]["nav"] = NAV
    data["models"] = {"mine": {"source": "org/name"}}
    assert config.load(data).evaluated("mine") == ["gp3", "nav"]
    study = config.load({**data, "train_on": ["gp3", "nav"]})
    assert study.evaluated("mine") == ["gp3"]  # the other has a track of its own
    assert study.evaluated("mine.nav") == ["nav"]


def test_a_model_from_scratch_reads_tasks_with_its_words(data):
    data["tasks"]["twelve"] = {**data["tasks"]["gp3"], "targets": [12]}
    assert config.load(data).evaluated("micro") == ["gp3", "twelve"]
    data["tasks"]["more"] = {**data["tasks"]["gp3"], "targets": [97]}
    with pytest.raises(HealscopeError, match="add 'more' to train_on for a model of its own"):
        config.load(data)
    study = config.load({**data, "train_on": ["gp3", "more"]})
    assert study.evaluated("micro.more") == ["twelve", "more"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_on": ["gp3", "gp9"]}, "train_on: 'gp9' is not in tasks"),
        ({"train_on": ["gp3", "gp3"]}, "holds the same value twice"),
        ({"train_on": []}, "train_on"),
        ({"train_on": ["gp3", "mmlu"]}, "'mmlu' has no reference answers to train on"),
    ],
)
def test_what_cannot_be_trained_on_is_named(data, monkeypatch, change, said):
    data["tasks"]["mmlu"] = {"family": "navigation"}
    monkeypatch.setattr(Navigation, "trainable", False)
    with pytest.raises(HealscopeError, match=said):
        config.load({**data, **change})
    assert list(config.load(data).tracks) == ["micro"]


def test_two_tracks_of_one_name_are_refused(data):
    data["models"]["micro.nav"] = data["models"]["micro"]
    with pytest.raises(HealscopeError, match="'micro.nav' would be model 'micro' trained on 'nav'"):
        two(data)


def step_rows(right: dict[str, list[bool]], **more) -> list[dict]:
    """Attempts at the steps of routes: route -> which steps are right."""
    return [
        {"track": "m", "seed": 0, "checkpoint": "sft-5", "protocol": "exhaustive", "rule": "ood",
         "problem_id": f"{route}/{i}:ood", "instance_id": route,
         "episode_id": f"{route}:ood", "split": "held_out", "half": "a", "n_faces": None,
         "draw": i, "retried": True, "sample": 0, "attempt": 1, "feedback": "", "task": "nav",
         "correct": step, **more}
        for route, steps in right.items()
        for i, step in enumerate(steps)
    ]  # fmt: skip


def test_an_episode_is_right_if_every_step_is():
    frame = pd.DataFrame(step_rows({"r1": [True, True, True], "r2": [True, False, True]}))
    whole = rows.episodes(frame)
    assert dict(zip(whole["problem_id"], whole["correct"], strict=True)) == {
        "r1:ood": True,
        "r2:ood": False,
    }
    assert "episode_id" not in whole
    cards = frame.assign(episode_id=None)
    pd.testing.assert_frame_equal(rows.episodes(cards), cards.drop(columns="episode_id"))


def test_a_later_attempt_at_an_episode_counts_steps_that_were_right_before():
    """Of two wrong steps one is right at attempt 2, the other at 3, but at one level only."""
    first = step_rows({"r": [True, False, False]})
    later = [
        {**first[i], "attempt": attempt, "feedback": level, "correct": correct}
        for i, attempt, level, correct in (
            (1, 2, "full", True), (2, 2, "full", False), (2, 3, "full", True),
            (1, 2, "none", True), (2, 2, "none", False), (2, 3, "none", False),
        )
    ]  # fmt: skip
    whole = rows.episodes(pd.DataFrame(first + later))
    found = whole.set_index(["feedback", "attempt"])["correct"].to_dict()
    assert found == {
        ("", 1): False, ("full", 2): False, ("full", 3): True,
        ("none", 2): False, ("none", 3): False,
    }  # fmt: skip


def test_each_task_has_a_pool_of_its_own(tmp_path):
    """Instance 1 of gp3 is trained on, that of nav is not."""
    pools = []
    for task, instance in (("gp3", "1"), ("nav", "2")):
        pools.append(tmp_path / artifacts.path(artifacts.SFT_POOL, task=task))
        pools[-1].parent.mkdir(parents=True)
        pd.DataFrame({"instance_id": [instance]}).to_parquet(pools[-1])
    frame = pd.DataFrame({"task": ["gp3", "gp3", "nav", "nav"], "seed": 0,
                          "instance_id": ["1", "2", "1", "2"], "split": "train"})  # fmt: skip
    sft = {"deals": 5, "examples": 5}
    known = rows.seen(frame, [str(p) for p in pools], sft)
    assert list(known) == [True, False, False, True]
    assert len(rows.trained_on(frame, [str(p) for p in pools], sft)) == 2


@pytest.fixture
def world(tmp_path):
    """Two tracks, two seeds: one is of routes of two steps. OOD accuracy is 0.5, then 0.25."""
    files, marks = [], []
    for track, task in (("tiny", "gp3"), ("tiny.nav", "nav")):
        for seed in (0, 1):
            own = []
            for variant, right in (("sft-0", 4), ("sft-5", 2), ("ppo-from-5", 3)):
                found = []
                for rule in ("id", "ood"):
                    shares = {f"r{d}": [d < right, True] for d in range(8)}
                    same = {"track": track, "seed": seed, "checkpoint": variant, "task": task}
                    for row in step_rows(shares, **same, rule=rule):
                        named = {
                            k: row[k].replace("ood", rule) for k in ("problem_id", "episode_id")
                        }
                        found.append({**row, **named, "half": "ab"[int(row["instance_id"][1]) % 2]})
                frame = pd.DataFrame(found)
                if task == "gp3":
                    frame = frame[frame["draw"] == 0].assign(episode_id=None, n_faces=1)
                own.append(tmp_path / f"{track}-{seed}-{variant}.parquet")
                frame.to_parquet(own[-1])
            steps = rows.with_steps(rows.first_attempts(own[:2]))
            marks.append(tmp_path / f"{track}-{seed}.json")
            chosen = landmarks.choose(steps, "auto", 5, "ppo-from-5")
            content = {"track": track, "seed": seed, "landmarks": chosen}
            provenance.write_json(marks[-1], content)
            files += own
    return [str(f) for f in files], [str(m) for m in marks]


TRACKS = {name: task_tables.TRACKS[name] for name in ("tiny", "tiny.nav")}


def test_tasks_stand_side_by_side_with_what_was_published(world):
    folder = task_tables.Path(__file__).parents[2] / "config/published"
    table = tasks.landmarks(*world, [str(folder / "fig1.csv")], TRACKS, SETTINGS)
    check(table, SCHEMAS["task-landmarks"])
    own = table[(table["kind"] == "measured") & (table["rule"] == "ood") & (table["seed"] == "all")]
    for task in ("gp3", "nav"):
        at = own[own["task"] == task].set_index("landmark")
        assert at["accuracy"].to_dict() == {"maxood": 0.5, "end": 0.25, "rl": 0.375}
        assert set(at["model"]) == {"tiny"}
        assert set(at["instances"]) == {8}  # routes, not their steps
    beside = table[table["kind"] == "published"].groupby("task")["n"].unique()
    assert {task: list(n) for task, n in beside.items()} == {"gp3": [234], "nav": [48]}
    curves = tasks.curves(world[0], TRACKS, SETTINGS)
    check(curves, SCHEMAS["task-curves"])
    at = curves[(curves["seed"] == "all") & (curves["rule"] == "ood")]
    at = at.set_index(["task", "checkpoint"])["accuracy"]
    assert at["nav", "sft-0"] == at["gp3", "sft-0"] == 0.5
    other_way = dict(reversed(TRACKS.items()))
    assert list(tasks.curves(world[0], other_way, SETTINGS)["task"].unique()) == ["nav", "gp3"]


def claims_table() -> pd.DataFrame:
    measured = {"low": -0.2, "high": -0.1, "by_seed": [-0.15, -0.15], "seeds": 2, "instances": 60,
                "detectable": 0.07, "detail": ""}  # fmt: skip
    return pd.DataFrame(
        [
            {"track": track, "claim": claim, "statement": f"about {claim}", "verdict": verdict,
             "effect": effect, **measured}
            for track, verdict, effect in (("tiny", "held", -0.15), ("tiny.nav", "undecided", 0.02))
            for claim in ("ood-falls-after-its-peak", "gate-forgetting", "gate-recovery",
                          "values-reversion-sft-ood", "rl-does-not-exceed-the-peak", "number-step")
        ]
    )  # fmt: skip


def window_table(late: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"track": track, "start": start, "rule": rule, "seed": seed, "change": change,
             "low": change - 0.02, "high": change + 0.02}
            for track in TRACKS
            for rule in ("id", "ood")
            for start, change in ((0, 0.0), (9, 0.3), (59, late))
            for seed in ("all", "0", "1", "2")
        ]
    )  # fmt: skip


def test_claims_of_tasks_are_those_of_the_claims_table(tmp_path):
    claims = claims_table()
    claims.loc[claims["claim"] == "number-step", "instances"] = 900  # asked of other problems
    table = task_claims.measure(claims, window_table(late=0.3), TRACKS, SETTINGS)
    check(table, SCHEMAS["task-claims"])
    at = table.set_index(["task", "question"])
    assert at.loc[("gp3", "forgetting"), "verdict"] == "held"
    assert at.loc[("nav", "forgetting"), ["verdict", "effect"]].tolist() == ["undecided", 0.02]
    assert at.loc[("nav", "forgetting"), "statement"] == "about gate-forgetting"
    # the first start changes nothing, the last one heals: judged as the window of starts is, where
    # less than a quarter of the fall counts as nothing
    assert at.loc[("gp3", "early"), "verdict"] == "held"
    assert at.loc[("nav", "early"), "verdict"] == "undecided"  # its fall is too small a measure
    assert at.loc[("gp3", "late"), "verdict"] == "did not hold"
    assert at.loc[("gp3", "late"), "source"] == "rl-window: start 59"
    assert at.loc[("gp3", "late"), "instances"] == 60
    assert ("gp3", "directions-sft") not in at.index  # the study does not make that edit
    page = task_claims.page(table, provenance.record({}))
    assert max(map(len, page.splitlines())) <= 110
    (line,) = [line for line in page.splitlines() if line.startswith("| OOD falls")]
    assert [cell.strip() for cell in line.split("|")[2:4]] == ["yes -15.0", "? +2.0"]
    assert "-15.0 [-20.0, -10.0]" in page


def test_figures_name_the_task_and_leave_other_tasks_without_published_cards(tmp_path, monkeypatch):
    kept = []
    save = looks.save
    monkeypatch.setattr(looks, "save", lambda f, *rest: (kept.append(f), save(f, *rest)))
    table = task_tables.task_landmarks().query("kind == 'measured' and task in ['gp3', 'nav']")
    names = {"gp3": "tiny", "nav": "tiny.nav"}
    frame = table.assign(track=table["task"].map(names))
    files = [str(task_tables.Path(__file__).parents[2] / "config/published/fig1.csv")]
    style = config.FigureStyle(published="llama-3.2-11b")
    paths = tmp_path / "a.pdf", tmp_path / "a.png"
    render("fig1", frame, style, *paths, published=files, tracks=TRACKS)
    (figure,) = kept
    said = {ax.get_title(loc="left"): ax.get_legend_handles_labels()[1] for ax in figure.axes}
    assert list(said) == [f"tiny · {t} · {r} rule" for t in ("gp3", "nav") for r in ("ID", "OOD")]
    for panel, labels in said.items():
        assert ("published: llama-3.2-11b" in labels) == ("gp3" in panel)


def test_fig9_has_a_panel_for_each_task_and_says_of_how_many(tmp_path):
    frame = task_tables.task_landmarks()
    panels = {
        ax.get_title(loc="left"): ax
        for ax in FIGURES["fig9"].draw(frame, config.FigureStyle()).axes
    }
    assert list(panels) == list(task_tables.FAMILIES)
    assert panels["nav"].get_xlabel() == "n = 60 instances, 3 seeds\npublished: n = 48"
    assert panels["rank"].get_xlabel() == "n = 160 ID and 400 OOD instances,\n3 seeds"
    heights = [patch.get_height() for patch in panels["rank"].patches]
    own = frame[(frame["task"] == "rank") & (frame["seed"] == "all")].set_index(
        ["rule", "landmark"]
    )
    expected = [own.loc[(r, m), "accuracy"] for r in ("id", "ood") for m in ("maxood", "end", "rl")]
    np.testing.assert_allclose(heights, expected)


@pytest.mark.parametrize("name", ["fig9", "fig_tasks"])
def test_what_is_said_below_a_panel_is_not_cut(name):
    table = {"fig9": task_tables.task_landmarks, "fig_tasks": task_tables.task_curves}[name]
    figure = FIGURES[name].draw(table(), config.FigureStyle())
    figure.draw_without_rendering()
    for ax in figure.axes:
        box = ax.xaxis.label.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, ax.get_xlabel()


def test_facts_of_tracks(data):
    study = two(data)
    assert track_facts(study, study.followed)["micro.nav"] == {
        "model": "micro", "task": "nav", "family": "navigation"
    }  # fmt: skip


def test_a_failed_job_names_the_model_and_not_the_track(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = {"rule_name": "sft", "rule_msg": "Out of memory", "log": [],
           "output": ["results/training/tiny.nav/seed-0/sft.parquet"]}  # fmt: skip
    assert "raise models.tiny.needs.sft.mem_mb" in explain(job, {"tiny.nav": "tiny"})
