"""A walker who goes where he is told: steps against plain walking, right actions, whole walks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from healscope.errors import HealscopeError
from healscope.evaluation.attempts import attempts
from healscope.tasks import task_settings
from healscope.tasks.navigation import own
from healscope.tasks.navigation.navigation import Navigation
from healscope.tasks.navigation.routes import COMPASS, RELATIVE
from healscope.tasks.navigation.streets import Town
from healscope.tasks.navigation.texts import FORWARD, STOP, turn_action
from healscope.tasks.navigation.walks import State, World
from healscope.tasks.posing import Protocol

ALL = [*map(turn_action, (*COMPASS, *RELATIVE)), FORWARD, STOP]
KINDS = [
    {"rendering": rendering, "id_rule": rule, "straight_line_length": points}
    for rendering in ("compact", "json")
    for rule, points in (("absolute", 1), ("relative", 3))
]


def walking(**options) -> Navigation:
    fixed = {"name": "nav", "moved_by": "own", "drop_rate": 0.0, "heading": "corrected"}
    small = {"rendering": "compact", "generated": 30, "legs": (2, 4), "straight_line_length": 1}
    return Navigation(**{**fixed, **small, **options})


def posed(task, **options):
    return task.posed(task.problem_table(), Protocol(problems="walks", **options))


def town(width: int) -> Town:
    """A square of intersections a block of 90 metres apart, joined with their neighbours, and one
    diagonal; places are (column, row) and headings plain."""
    at = {(x, y): x + width * y for y in range(width) for x in range(width)}
    ends = [[n for (u, v), n in at.items() if abs(u - x) + abs(v - y) == 1] for x, y in at]
    ends[0].append(width + 1)
    ends[width + 1].append(0)
    return Town(
        tuple((90.0 * x, 90.0 * y) for x, y in at),
        tuple(tuple(sorted(e)) for e in ends),
        tuple((f"Alba Kind{n}", 90.0) for n in at.values()),
        (True,) * len(at),
    )


def by_hand(width: int, goal: int, state: State, action: str, stops: int):
    """What an action leads to, by coordinates and names of directions alone."""
    if action == STOP:
        return state, True, state.place == "destination"
    wall = state._replace(blocked=True), False, False

    def arrive(end, gone, heading):
        if gone <= stops:
            return State("street", state.at, heading, end, gone), False, False
        return State("destination" if end == goal else "intersection", end, heading), False, False

    if state.place == "street":
        ahead = arrive(state.towards, state.gone + 1, state.heading)
        return ahead if action == FORWARD else wall
    x, y = state.at % width, state.at // width
    diagonal = {0: (1, 1), width + 1: (-1, -1)}.get(state.at)
    moves = {}
    for heading, (dx, dy) in {0: (0, 1), 45: (1, 1), 90: (1, 0), 180: (0, -1), 225: (-1, -1),
                              270: (-1, 0)}.items():  # fmt: skip
        inside = 0 <= x + dx < width and 0 <= y + dy < width
        if inside and (dx * dy == 0 or (dx, dy) == diagonal):
            moves[heading] = state.at + dx + width * dy
    word = action.removeprefix("turn_direction(").removesuffix(")")
    change = {h: (h - state.heading + 180) % 360 - 180 for h in moves}  # to the right
    change = {h: 180 if c == -180 else c for h, c in change.items()}
    if action == FORWARD:
        fit = [h for h, c in change.items() if c == 0]
    elif word in COMPASS:
        fit = [h for h in moves if h == 45 * COMPASS.index(word)]
    else:
        limits = {"slightly left": (-45, -1, -45), "slightly right": (1, 45, 45),
                  "left": (-179, -46, -90), "right": (46, 180, 90)}[word]  # fmt: skip
        fit = [h for h, c in change.items() if limits[0] <= c <= limits[1]]
        # the nearest to what the word means; of two as near the first place
        fit = sorted(fit, key=lambda h: (abs(change[h] - limits[2]), moves[h]))
    return arrive(moves[fit[0]], 1, fit[0]) if fit else wall


@pytest.mark.parametrize("points", [0, 3])
@pytest.mark.parametrize("width", [2, 3])
def test_a_step_is_what_plain_walking_says_for_every_state_and_action(width, points):
    world, stops = World(town(width), points, 8.0), max(points - 1, 0)
    seen = 0
    for goal in range(width * width):
        begun = [State("start", at, 45 * h) for at in range(width * width) for h in range(8)]
        known, ahead = set(begun), begun
        while ahead:
            state = ahead.pop()
            for action in ALL:
                found = world.step(goal, state, action)
                assert tuple(found) == by_hand(width, goal, state, action, stops), (state, action)
                seen += 1
                if found.state not in known:
                    known.add(found.state)
                    ahead.append(found.state)
        places = {state.place for state in known}
        assert places == {"start", "intersection", "destination"} | ({"street"} if stops else set())
    assert seen > 1000


@pytest.mark.parametrize("options", KINDS, ids=lambda o: "-".join(map(str, o.values())))
def test_right_actions_lead_to_the_destination_as_the_directions_say(options):
    task = walking(**options)
    for rule in ("id", "ood"):
        walks = {}
        for problem in task.listed(rule):
            walks.setdefault(problem.instance_id, []).append(problem)
        for walk in walks.values():
            here = replace(walk[0], data={**walk[0].data, "limit": 99})
            turned = []
            for problem in walk:
                assert task.verify(problem, problem.answer).outcome == "correct"
                assert here.data["done"] == problem.data["done"]
                assert task.prompt(here) == task.prompt(problem)
                right = task.right(problem)
                turned += [right] if right not in (FORWARD, STOP) else []
                here, done, success = task.step(here, problem.answer)
            assert (done, success) == (True, True)
            column = 1 if (rule == "id") == (task.id_rule == "absolute") else 0
            assert turned == [turn_action(leg[column]) for leg in walk[0].data["legs"]]


@pytest.mark.parametrize("options", KINDS, ids=lambda o: "-".join(map(str, o.values())))
def test_alternatives_are_never_right_and_lead_where_the_step_says(options):
    task = walking(**options)
    for rule in ("id", "ood"):
        for problem in task.listed(rule)[:60]:
            found = own.outcomes(task, problem)
            here, goal = own.states(task, problem)[-1], problem.data["walk"][-1]
            right = task.world.step(goal, here, task.right(problem))
            left_out = set(task.actions(rule)) - {o.action for o in found}
            assert task.right(problem) in left_out
            assert all(task.world.step(goal, here, a) == right for a in left_out)
            for outcome in found:
                there = task.world.step(goal, here, outcome.action)
                assert there != right
                assert outcome.error == (there.state.blocked or there.done)


@pytest.mark.parametrize("options", KINDS, ids=lambda o: "-".join(map(str, o.values())))
def test_a_reflection_is_true_and_does_not_tell_the_answer_before_it(options):
    """What it says of an action is what the simulator shows after it; the right action stands
    nowhere before the part of the answer that states it."""
    task = walking(**options)
    told = 0
    for problem in task.listed("id")[:60]:
        right = task.right(problem)
        for outcome in own.outcomes(task, problem):
            text = own.reflection(task, problem, outcome)
            assert task.verify(problem, text).outcome == "correct"
            further = replace(problem, data={**problem.data, "limit": 99})
            off, done, _ = own.step(task, further, outcome.action)
            if task.rendering == "json":
                thought = json.loads(text)["thought"]
                assert right not in thought
            else:
                thought = f" {text.partition(f' {own.NOT} ')[2].partition(' instr ')[0]} "
                spelt = problem.answer.partition(" action ")[2]
                assert f" {spelt} " not in thought
            if not done:
                assert own.seen(task, off, own.states(task, off)[-1]) in thought
                told += 1
    assert told > 50


def test_a_predictor_that_walks_is_always_right_and_shuffled_answers_are_not():
    """Of what is seen next nothing is left to chance: a scripted walker knows it from the record
    and the map alone."""
    task = walking()
    right = wrong = 0
    answers = []
    for problem in task.listed("id"):
        for outcome in own.outcomes(task, problem):
            prompt, answer = own.prediction(task, problem, outcome)
            assert prompt.endswith(f" {own.NEXT}")
            there = World(task.world.town, task.straight_line_length, 8.0).step(
                problem.data["walk"][-1], own.states(task, problem)[-1], outcome.action
            )
            said = own.ASTRAY if there.done else own.seen(task, problem, there.state)
            right += said == answer
            answers.append((said, answer))
    other = np.random.default_rng(0).permutation([a for _, a in answers])
    wrong = np.mean([said != o for (said, _), o in zip(answers, other, strict=True)])
    assert right == len(answers)
    assert wrong > 0.5


def test_pretraining_shows_the_way_back():
    task = walking(pushed_off=1.0)
    rng = np.random.default_rng(0)
    off = 0
    for _ in range(200):
        problem = task.draw("id", rng)
        assert task.verify(problem, problem.answer).outcome == "correct"
        here = replace(problem, data={**problem.data, "limit": 99})
        actions = own.expert(task, here)
        assert actions[0] == task.right(problem)
        for action in actions:
            here, done, success = own.step(task, here, action)
        assert (done, success) == (True, True)
        nodes = problem.data["walk"][1:]
        off += own.states(task, problem)[-1].at not in nodes
    assert off > 30
    assert walking().draw("id", np.random.default_rng(0)).data["done"] is not None


# Whole walks.


def scripted(task, problems, answer):
    """Answers by a function of the problem behind a prompt; it follows every walk by its prompt."""

    def ask(conversations, purpose, temperature):
        return [answer(turns[0]) for turns in conversations]

    return attempts(ask, task, problems, Protocol(problems="walks"))


def test_walks_of_those_who_know_the_way_and_of_those_who_do_not():
    task = walking()
    problems = posed(task, per_kind=8)
    prompts = {}
    for row in problems.to_dict("records"):
        here = task.read(row)
        for action in own.expert(task, here):
            prompts[task.prompt(here)] = own.answer(task, here, action)
            here, *_ = own.step(task, here, action)
    rows = scripted(task, problems, prompts.__getitem__)
    assert rows["correct"].all()
    assert set(rows["neighbour"]) == {own.ON, own.OFF}
    on = rows["neighbour"] == own.ON
    # only what is on the route is known: off it, the walk is lost
    route = {task.prompt(p): p.answer for rule in ("id", "ood") for p in task.listed(rule)}
    giving_up = "obs wall instr on action stop"
    lost = scripted(task, problems, lambda prompt: route.get(prompt, giving_up))
    assert lost.loc[on, "correct"].all()
    assert not lost.loc[~on, "correct"].any()
    assert set(lost["outcome"]) == {"correct", "wrong_action"}
    silent = scripted(task, problems, lambda prompt: None)
    assert set(silent["outcome"]) == {"no_answer"}
    unreadable = scripted(task, problems, lambda prompt: "turn north")
    assert set(unreadable["outcome"]) == {"no_answer"}


def test_a_walk_that_goes_nowhere_ends():
    task = walking()
    problems = posed(task, per_kind=3)
    rows = scripted(task, problems, lambda prompt: "obs wall instr on action forward")
    assert not rows["correct"].any()
    for row, text in zip(problems.to_dict("records"), rows["text"], strict=True):
        done, limit = (json.loads(row["data"])[key] for key in ("done", "limit"))
        assert len(text.splitlines()) + len(done) <= limit


def test_walks_are_of_held_out_routes_and_pushed_by_one_wrong_action():
    task = walking()
    table = task.problem_table()
    problems = posed(task, per_kind=9)
    assert set(problems["split"]) == {"held_out"}
    assert problems["episode_id"].isna().all()
    assert not problems.duplicated(["rule", "draw"]).any()
    assert (problems.groupby(["rule", "neighbour"]).size() <= 9).all()
    for row in problems[problems["neighbour"] == own.OFF].to_dict("records"):
        *before, wrong = json.loads(row["data"])["done"]
        same = table[(table["instance_id"] == row["instance_id"]) & (table["rule"] == row["rule"])]
        here = task.read(same.iloc[len(before)].to_dict())
        assert (here.data["done"], task.right(here) != wrong) == (before, True)


def test_only_a_walker_of_his_own_has_walks():
    plain = Navigation(name="nav", generated=12, legs=(2, 4))
    assert "walks" not in plain.problems_of
    with pytest.raises(HealscopeError, match="only navigation with moved_by: own has"):
        posed(plain)
    for wrong in ({"drop_rate": 0.5}, {"heading": "published"}):
        with pytest.raises(ValueError, match="moved_by: own needs streets with fixed stops"):
            walking(**wrong)


def test_options_of_a_walker_leave_other_tasks_alone():
    plain = task_settings({"family": "navigation", "rendering": "compact"})
    assert not {"moved_by", "pushed_off"} & set(plain.model_dump())
    assert {"moved_by", "pushed_off"} <= set(
        plain.model_copy(update={"moved_by": "own", "pushed_off": 0.2}).model_dump()
    )
    assert not set(own.WORDS) & set(Navigation(name="n", rendering="compact", generated=4).words())
