"""Navigation: the town and its routes, both rules, verdicts, published route files."""

import json
import math
import pickle
from collections import defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hostile_responses import hostile_responses

from healscope import tasks
from healscope.errors import HealscopeError
from healscope.tasks import task_settings
from healscope.tasks.navigation.navigation import Navigation
from healscope.tasks.navigation.routes import (
    COMPASS,
    RELATIVE,
    SIDES,
    Leg,
    Route,
    rail,
    read_routes,
    turn,
)
from healscope.tasks.navigation.streets import draw_town

SMALL = {"generated": 12, "legs": (2, 5)}
KINDS = [
    {"rendering": rendering, "id_rule": rule, "heading": heading}
    for rendering in ("json", "compact")
    for rule in ("absolute", "relative")
    for heading in ("published", "corrected")
]


def navigation(**options) -> Navigation:
    return Navigation(**{"name": "nav", **SMALL, **options})


def turns(task: Navigation, rule="id"):
    """Problems whose right action is a turn."""
    return [p for p in task.problems(rule) if p.data["rail"][-1][0] in ("start", "intersection")]


def at(task: Navigation, place: str, rule="id"):
    return next(p for p in task.problems(rule) if p.data["rail"][-1][0] == place)


def acting(task: Navigation, problem, action: str, seen: str | None = None) -> str:
    """The reference answer with another action, and another observation where one is given."""
    if task.rendering == "json":
        said = json.loads(problem.answer) | {"action": action}
        return json.dumps(said if seen is None else said | {"current observation": seen})
    words = problem.answer.split(" ")
    middle = words[words.index("instr") : words.index("action")]
    obs = words[: words.index("instr")] if seen is None else ["obs", seen]
    return " ".join([*obs, *middle, "action", action])


# The rules.


@pytest.mark.parametrize("options", KINDS, ids=lambda o: "-".join(o.values()))
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_reference_answers_are_right_and_in_their_action_space(options, seed):
    task = navigation(seed=seed, **options)
    for rule, other in (("id", "ood"), ("ood", "id")):
        for problem, twin in zip(task.problems(rule), task.problems(other), strict=True):
            verdict = task.verify(problem, problem.answer)
            assert verdict[:4] == ("correct", 1.0, True, True), problem.answer
            assert problem.pair_id == twin.pair_id
            assert task.canonical(problem, problem.answer)
            crossed = task.verify(problem, twin.answer)
            if problem.answer == twin.answer:  # on, or stop
                assert problem.data["rail"][-1][0] in ("street", "destination")
            else:
                assert (crossed.outcome, crossed.follows_rule) == ("other_rule", False)


@pytest.mark.parametrize(("rule", "words"), [("absolute", COMPASS), ("relative", RELATIVE)])
def test_the_prompt_offers_the_turns_of_its_rule(rule, words):
    task = navigation(id_rule=rule)
    for problem in turns(task)[:20]:
        assert f"one of {json.dumps(list(words))}" in task.prompt(problem)
        assert json.loads(problem.answer)["action"] in {f"turn_direction({w})" for w in words}


def test_prompts_hold_all_directions_and_the_true_record():
    task = navigation()
    walks = defaultdict(list)
    for problem in task.problems("ood"):
        walks[problem.instance_id].append(problem)
    for walk in walks.values():
        answers = [json.loads(p.answer) for p in walk]
        for k, problem in enumerate(walk):
            lines = task.prompt(problem).splitlines()
            for number in range(1, k + 1):
                seen, did = (
                    answers[number - 1]["current observation"],
                    answers[number - 1]["action"],
                )
                assert f"O_{number}: {seen}" in lines
                assert f"A_{number}: {did}" in lines
            assert f"O_{k + 1}: {answers[k]['current observation']}" in lines
            assert f"A_{k + 1}:" in lines
            assert not any(line.startswith(f"O_{k + 2}") for line in lines)
            said = answers[k]["current instruction"]
            assert sum(line.partition(". ")[2] == said for line in lines) >= 1
            for turned, face, landmark in problem.data["legs"]:
                assert any(f"turn {turned}, so that you face {face}." in s.lower() for s in lines)
                assert landmark is None or any(landmark[0] in line for line in lines)


def test_the_walk_follows_the_directions_in_order():
    for problem in navigation(seed=3).problems("id"):
        waypoints = problem.data["rail"]
        legs = [leg for _, leg in waypoints]
        assert waypoints[0] == ["start", 0]
        assert legs == sorted(legs)
        assert set(legs) == set(range(legs[-1] + 1))
        for (_, before), (place, leg) in zip(waypoints, waypoints[1:], strict=False):
            assert (leg == before + 1) == (place == "intersection")
        assert all(place not in ("start", "destination") for place, _ in waypoints[1:-1])


def test_wordings_differ_and_say_the_same():
    for rendering in ("json", "compact"):
        task = navigation(rendering=rendering)
        problem = turns(task)[1]
        said = task.paraphrases(problem)
        assert said[0] == task.prompt(problem)
        assert len(set(said)) == len(said) > 1
        assert len({tuple(sorted(s.split())) for s in said}) == (1 if rendering == "compact" else 3)


# Town and routes.


@pytest.mark.parametrize("seed", [0, 5, 9])
def test_routes_follow_streets_of_the_town(seed):
    rng = np.random.default_rng(seed)
    town = draw_town(rng, 0.5)
    for n in range(40):
        route = town.draw_route("r", 2 + n % 6, rng)
        assert len(route.legs) == 2 + n % 6
        ends = set(range(len(town.places)))
        for leg in route.legs:
            ends = {
                end
                for start in ends
                for end in town.streets[start]
                if town.heading(start, end) == leg.degrees
                and math.isclose(math.dist(town.places[start], town.places[end]), leg.metres)
            }
            assert ends, "a leg is no street"
        assert leg.landmark is not None, "the destination has no name"
        for before, after in zip(route.legs, route.legs[1:], strict=False):
            assert 12 < abs((after.degrees - before.degrees + 180) % 360 - 180) <= 180


@pytest.mark.parametrize("options", [{"landmarks": 0.0}, {"landmarks": 1.0, "legs": (20, 20)}])
def test_every_destination_has_a_name(options):
    for problem in navigation(**options).problems("id"):
        *before, last = problem.data["legs"]
        assert last[2] is not None
        assert all((landmark is not None) == options["landmarks"] for *_, landmark in before)


def test_every_heading_turn_and_side_occurs():
    legs = [leg for p in navigation(generated=150).problems("id") for leg in p.data["legs"]]
    assert {face for _, face, _ in legs} == set(COMPASS)
    assert {turned for turned, _, _ in legs} == set(RELATIVE)
    assert {landmark[1] for *_, landmark in legs if landmark} == set(SIDES)
    assert any(landmark is None for *_, landmark in legs)


@pytest.mark.parametrize(
    ("before", "after", "published", "corrected"),
    [
        (350, 10, "left", "slightly right"),  # the fault: -340 degrees
        (10, 350, "right", "slightly left"),
        (270, 0, "left", "right"),
        (0, 90, "right", "right"),
        (90, 0, "left", "left"),
        (10, 55, "slightly right", "slightly right"),
        (10, 56, "right", "right"),
        (55, 10, "slightly left", "slightly left"),
        (30, 30, "slightly left", "slightly left"),
        (0, 180, "right", "right"),  # straight back
        (180, 0, "left", "right"),
    ],
)
def test_turns_are_named_as_published_or_by_the_shorter_way(before, after, published, corrected):
    assert turn(before, after, "published") == published
    assert turn(before, after, "corrected") == corrected


def test_turns_agree_where_no_circle_is_closed():
    for before in range(0, 360, 7):
        for after in range(0, 360, 5):
            same = turn(before, after, "published") == turn(before, after, "corrected")
            assert same or abs(after - before) >= 180
            back = (after - before) % 360
            right = turn(before, after, "corrected").endswith("right")
            assert right == (0 < back <= 180)


def test_points_on_the_way():
    legs = (Leg(0, "north", 100.0, None), Leg(90, "east", 30.0, ("Elm Hotel", "left")))
    route = Route("r", 0, legs)
    rng = np.random.default_rng

    def streets(points, dropped, clearance):
        found = [w for w in rail(route, points, dropped, clearance, rng(0)) if w.place == "street"]
        return [sum(w.leg == leg for w in found) for leg in (0, 1)]

    assert streets(5, 0.0, 8.0) == [4, 2]  # of 30 m, at 12 and 18
    assert streets(5, 0.0, 0.0) == [4, 4]  # the last point is the end
    assert streets(5, 0.0, 12.0) == [4, 0]  # 12 is not further
    assert streets(5, 0.0, 25.0) == [2, 0]
    assert streets(5, 1.0, 8.0) == [0, 0]
    assert streets(0, 0.0, 8.0) == [0, 0]
    many = [sum(streets(5, 0.5, 8.0)) for _ in range(3)]
    assert len(set(many)) == 1, "the same numbers drop the same points"


def test_everything_follows_from_the_seed():
    first, again = (list(navigation(seed=4).problems("ood")) for _ in range(2))
    assert first == again
    assert first != list(navigation(seed=5).problems("ood"))
    task = navigation(seed=4)
    assert sorted(set(task.splits().values())) == ["held_out", "train"]
    assert list(task.splits().values()).count("held_out") == round(0.4 * 12)


# Verdicts and feedback.


@pytest.mark.parametrize("rendering", ["json", "compact"])
def test_outcomes_are_a_closed_list_with_published_rewards(rendering):
    task = navigation(rendering=rendering)
    problem = at(task, "intersection")
    wrong = next(w for w in COMPASS if w != problem.data["legs"][problem.data["rail"][-1][1]][1])
    spelt = (lambda a: f"turn_direction({a})") if rendering == "json" else (lambda a: f"turn {a}")
    on = "forward()" if rendering == "json" else "forward"
    cases = {
        acting(task, problem, spelt(wrong)): ("wrong_action", True),
        acting(task, problem, on): ("wrong_action", True),
        acting(task, problem, spelt("left")): ("other_rule", False),
        acting(task, problem, spelt("up")): ("illegal", False),
        acting(task, problem, "run"): ("illegal", False),
        "": ("no_answer", False),
        "action": ("no_answer", False),
        problem.answer * 200: ("no_answer" if rendering == "json" else "illegal", False),
    }
    for text, (outcome, follows) in cases.items():
        verdict = task.verify(problem, text)
        assert (verdict.outcome, verdict.follows_rule) == (outcome, follows), text[:80]
        assert verdict.parsed == (outcome != "no_answer")
        assert verdict.reward == -1.0
    assert set(task.outcomes) == {"correct", *(outcome for outcome, _ in cases.values())}


@pytest.mark.parametrize("rendering", ["json", "compact"])
def test_naming_a_real_intersection_is_punished_as_published_only(rendering):
    real = "you are at an intersection" if rendering == "json" else "crossing"
    stop = "stop()" if rendering == "json" else "stop"
    rewards = {}
    for contradiction in ("published", "corrected"):
        task = navigation(rendering=rendering, contradiction=contradiction)
        for place in ("intersection", "street"):
            problem = at(task, place)
            for seen in (real, "street"):
                verdict = task.verify(problem, acting(task, problem, stop, seen))
                assert verdict.outcome == "wrong_action"
                rewards[contradiction, place, seen == real] = verdict.reward
                hint = task.hint(problem, acting(task, problem, stop, seen)).message
                assert (hint in ("action", "The action is not the right one here.")) == (
                    verdict.reward == -1
                )
    assert rewards == {
        ("published", "intersection", True): -1.5,  # the fault
        ("published", "intersection", False): -1,
        ("published", "street", True): -1.5,
        ("published", "street", False): -1,
        ("corrected", "intersection", True): -1,
        ("corrected", "intersection", False): -1.5,
        ("corrected", "street", True): -1.5,
        ("corrected", "street", False): -1,
    }
    right = at(task, "intersection")
    assert task.verify(right, right.answer).reward == 1


PAPER_ID = """```
{
  "current observation": "No landmarks nearby;"
  "current instruction": "First, turn right to face north."
  "action": "turn direction(%s)"
}
```"""


def test_spelling_is_tolerated_but_not_as_reference():
    """The paper's own examples (appendix C.2) lack commas and the underscore."""
    tolerant, reference = navigation(), navigation(verifier="reference")
    problem = turns(tolerant)[0]
    face = problem.data["legs"][0][1]
    spellings = [
        f"turn_direction({face})",
        f"Turn direction ( {face.upper()} )",
        f"turndirection({face})",
        f" turn_direction({face[:5]} {face[5:]})",
    ]
    for n, spelling in enumerate(spellings):
        text = json.dumps({"action": spelling})
        assert tolerant.verify(problem, text).outcome == "correct"
        assert (reference.verify(problem, text).outcome == "correct") == (n == 0)
    assert tolerant.verify(problem, PAPER_ID % face).outcome == "correct"
    assert tolerant.verify(problem, PAPER_ID % "right").outcome == "other_rule"
    assert reference.verify(problem, PAPER_ID % face).outcome == "illegal"
    broken = f"x {{'action' :  'turn_direction({face})'"
    assert tolerant.verify(problem, broken).outcome == "correct"
    assert reference.verify(problem, broken).outcome == "no_answer"


def test_as_released_an_observation_that_is_missing_names_no_intersection():
    """So a wrong action at a landmark that is called an intersection costs more there."""
    reference = navigation(verifier="reference", contradiction="corrected")
    for place, reward in (("intersection", -1.5), ("street", -1.0)):
        problem = at(reference, place)
        for text in ('{"action": "stop()"}', '```\n{"action": "stop()"}\n```', "no"):
            assert reference.verify(problem, text).reward == reward
            assert replace(reference, verifier="tolerant").verify(problem, text).reward == -1.0


@pytest.mark.parametrize("rendering", ["json", "compact"])
def test_feedback_leaks_only_where_it_names_the_unseen_turn(rendering):
    for hints, leaking in (("published", False), ("action", True)):
        task = navigation(rendering=rendering, hints=hints)
        vocabulary = set(task.words())
        for rule in ("id", "ood"):
            for problem in task.problems(rule):
                verdict = task.verify(problem, "x")
                said = task.feedback(problem, verdict, "x", "full")
                turning = problem.data["rail"][-1][0] in ("start", "intersection")
                assert said.leaks == (leaking and rule == "ood" and turning)
                if rendering == "compact":
                    again = task.follow_up(problem, said.message)
                    assert set(again.split()) <= vocabulary
                    assert again.endswith(task.prompt(problem))
        assert not task.feedback(problem, verdict, "x", "outcome").leaks


def _mutated(task: Navigation, problem, pool, rng: Random) -> str:
    """Another problem's answer, or this one's with letters or words replaced or dropped."""
    if rng.random() < 0.3:
        return rng.choice(pool).answer
    separator = rng.choice(("", " "))
    parts = problem.answer.split(" ") if separator else list(problem.answer)
    other = rng.choice((task.prompt(problem), '"action": "', "instr action obs crossing turn ( )"))
    for _ in range(rng.randrange(6)):
        place = rng.randrange(len(parts))
        parts[place : place + rng.randrange(2)] = [rng.choice(other.split(" "))] * rng.randrange(3)
        parts = parts or [""]
    return separator.join(parts) * rng.choice((1, 1, 1, 2, 60))


def test_hostile_responses_get_a_verdict():
    chosen = [
        navigation(rendering=rendering, verifier=verifier, contradiction=contradiction)
        for rendering in ("json", "compact")
        for verifier in ("tolerant", "reference")
        for contradiction in ("published", "corrected")
    ]
    rng = Random(8)
    pools = {id(task): [p for r in ("id", "ood") for p in task.problems(r)] for task in chosen}
    outcomes = set()
    for _, _, text in hostile_responses(3000, seed=21):
        task = rng.choice(chosen)
        pool = pools[id(task)]
        problem = rng.choice(pool)
        for said in (text, _mutated(task, problem, pool, rng)):
            verdict = task.verify(problem, said)
            assert verdict.outcome in task.outcomes
            assert verdict.reward in (1.0, -1.0, -1.5)
            assert (verdict.reward == 1.0) == (verdict.outcome == "correct")
            assert 0 <= task.progress(problem, said) < 1
            task.hint(problem, said)
            outcomes.add(verdict.outcome)
    assert outcomes == set(task.outcomes)


# What a model from scratch reads.


def test_compact_texts_keep_to_the_vocabulary():
    task = navigation(rendering="compact", landmarks=0.9)
    vocabulary, rng = task.words(), np.random.default_rng(2)
    assert len(vocabulary) == len(set(vocabulary))
    for n in range(200):
        problem = task.draw(("id", "ood")[n % 2], rng)
        assert problem.rule == ("id", "ood")[n % 2]
        assert task.verify(problem, problem.answer).outcome == "correct"
        texts = [task.prompt(problem), problem.answer, task.noisy(problem, rng)]
        assert set(" ".join(texts).split()) <= set(vocabulary)


@pytest.mark.parametrize("rendering", ["json", "compact"])
def test_layouts_show_parts_of_the_answer(rendering):
    task = navigation(rendering=rendering)
    problem = at(task, "intersection")
    whole = {token: task.layout(problem, problem.answer, token) for token in ("fD", "fG")}
    assert set(whole.values()) == {problem.answer}
    names = {"obs": "current observation", "instr": "current instruction", "action": "action"}
    for token, parts in (
        ("fA", ["action"]),
        ("fB", ["instr", "action"]),
        ("fC", ["obs", "action"]),
    ):
        said = task.layout(problem, problem.answer, token)
        assert task.verify(problem, said).outcome == "no_answer"
        keys = [k for k in names if (names[k] if rendering == "json" else k) in said]
        assert keys == parts
    assert len({task.prompt(problem, token) for token in ("fA", "fB", "fC", "fD", "fG")}) == 5


# Published route files.


def published(task: Navigation) -> list:
    """The task's routes in the shape of route_infos.json."""
    listed = []
    for route, _ in task._walks:
        x = y = 0.0
        points, blocks = [[40.0, -74.0]], []
        before = route.init_heading
        for number, leg in enumerate(route.legs, start=1):
            x += leg.metres * math.sin(math.radians(leg.degrees))
            y += leg.metres * math.cos(math.radians(leg.degrees))
            east = 111_194.9 * math.cos(math.radians(40))
            points.append([40.0 + y / 111_194.9, -74.0 + x / east])
            said = "No landmark nearby"
            if leg.landmark:
                start = "The destination " if number == len(route.legs) else ""
                said = f"{start}{leg.landmark[0]} is on your {leg.landmark[1]}"
            blocks.append(
                f'{{\n"intersection_idx": "{number}",\n"landmarks": "{said}",\n'
                f'"distance": "{round(leg.metres)} meters",\n"human_heading": "{before}",\n'
                f'"to_next_intersection_heading": "{leg.degrees} ({leg.face})",\n}}\n'
            )
            before = leg.degrees
        listed.append(
            {
                "start_place": {"geocode": points[0], "relocated_geocode": points[0]},
                "dest_place": {"name": route.legs[-1].landmark[0], "geocode": points[-1]},
                "init_heading": route.init_heading,
                "milestone_info": "".join(blocks),
                "route_results": {
                    "geocode_list": points[1:],
                    "landmark_list": [
                        leg.landmark and {"name": leg.landmark[0]} for leg in route.legs
                    ],
                },
            }
        )
    return [listed, len(listed)]


def test_published_route_files_are_read(tmp_path):
    drawn = navigation(generated=20)
    file = tmp_path / "route_infos.json"
    file.write_text(json.dumps(published(drawn)))
    settings = task_settings({"family": "navigation", "routes": str(file), "seed": drawn.seed})
    read = tasks.build("nav", settings)
    kept = [(route, waypoints) for route, waypoints in drawn._walks if route.init_heading]
    assert len(kept) > 10
    by_id = {route.route_id: (route, waypoints) for route, waypoints in read._walks}
    for route, _ in kept:
        again = by_id[route.route_id][0]
        assert again.init_heading == route.init_heading
        for ours, theirs in zip(route.legs, again.legs, strict=True):
            assert ours[:2] + ours[3:] == theirs[:2] + theirs[3:]
            assert math.isclose(ours.metres, theirs.metres, rel_tol=0.01)
        assert drawn._legs(route) == read._legs(again)
    for problem in read.problems("ood"):
        assert read.verify(problem, problem.answer).outcome == "correct"


def test_odd_route_files(tmp_path):
    listed, number = published(navigation(generated=2))
    listed[0]["init_heading"] = 0  # random in the released code; here from the seed
    listed[1]["milestone_info"] = listed[1]["milestone_info"].replace(",\n}", "\n}")
    file = tmp_path / "route_infos.json"
    file.write_text(json.dumps([listed, number]))
    rngs = [np.random.default_rng(seed) for seed in (1, 1, 2)]
    first, again, other = (read_routes(file, rng) for rng in rngs)
    assert first == again
    assert first[0].init_heading != other[0].init_heading
    assert first[1] == other[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.pop("milestone_info"), "route 0: no 'milestone_info'"),
        (lambda r: r["route_results"]["geocode_list"].pop(), "blocks for"),
        (lambda r: r.update(milestone_info=""), "0 blocks"),
        (
            lambda r: r.update(milestone_info=r["milestone_info"].replace("to_next", "next")),
            "block 1 has no to_next_intersection_heading",
        ),
        (lambda r: r.update(init_heading="north"), "route 0"),
        (lambda r: r.update(init_heading=float("inf")), "route 0"),
        (lambda r: r.update(start_place=None), "route 0"),
        (lambda r: r["start_place"].update(relocated_geocode=["a", "b"]), "route 0"),
        (lambda r: r["start_place"].update(relocated_geocode=[1]), "route 0"),
    ],
)
def test_faulty_routes_are_named(tmp_path, change, reason):
    content = published(navigation(generated=1))
    change(content[0][0])
    file = tmp_path / "route_infos.json"
    file.write_text(json.dumps(content))
    with pytest.raises(HealscopeError, match="routes: .*route_infos.json, route 0") as caught:
        list(navigation(routes=str(file)).problems("id"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps([[Bomb()], 1]), "not a pickle|a pickle"),
        (b"\x80\x04", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"{}", "holds no routes"),
        (b"[[], 0]", "holds no routes"),
        (b"[3, 1]", "holds no routes"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path, content, reason):
    file = tmp_path / "routes.pkl"
    file.write_bytes(content)
    with pytest.raises(HealscopeError, match=reason):
        task_settings({"family": "navigation", "routes": str(file)})
    with pytest.raises(HealscopeError, match=reason) as caught:
        read_routes(file, np.random.default_rng(0))
    assert "\n" not in str(caught.value)
    with pytest.raises(HealscopeError, match="cannot be read"):
        task_settings({"family": "navigation", "routes": str(tmp_path / "none.json")})


def test_the_content_of_a_route_file_is_a_value_of_the_config(tmp_path):
    file = tmp_path / "route_infos.json"
    content = published(navigation(generated=2))
    file.write_text(json.dumps(content))
    given = {"family": "navigation", "routes": str(file)}
    before = task_settings(given).model_dump(mode="json")
    assert task_settings(before).model_dump(mode="json") == before
    content[0][0]["init_heading"] = 77
    file.write_text(json.dumps(content))
    after = task_settings(given).model_dump(mode="json")
    assert {k for k in before if before[k] != after[k]} == {"routes_sha256"}
    with pytest.raises(HealscopeError, match="was it changed"):
        task_settings(before)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"legs": [4, 3]}, "legs"),
        ({"legs": [3, 21]}, "legs"),
        ({"routes_sha256": "0"}, "routes, which is not given"),
        ({"drop_rate": 1.5}, "drop_rate"),
        ({"id_rule": "sideways"}, "id_rule"),
        ({"mixture": {"id": 0, "ood": 0}}, "mixture"),
    ],
)
def test_impossible_settings_are_refused(options, reason):
    with pytest.raises(HealscopeError, match=reason):
        task_settings({"family": "navigation", **options})


def test_no_two_routes_have_the_same_directions():
    """They would be one instance on both sides of the hold-out."""
    few = Navigation(name="nav", rendering="compact", generated=400, legs=(1, 2))
    prompts = [few.prompt(p) for p in few.problems("id") if p.part == 0]
    assert len(set(prompts)) == len(prompts) == 400
    with pytest.raises(ValueError, match="different routes"):
        list(replace(few, generated=20000, legs=(1, 1)).problems("id"))


def test_equal_routes_of_a_file_are_one(tmp_path):
    """Or one would be trained on and held out."""
    listed, number = published(navigation(generated=6))
    file = tmp_path / "route_infos.json"
    file.write_text(json.dumps([[*listed, *listed], 2 * number]))
    twice = Navigation(name="nav", routes=str(file))
    file.write_text(json.dumps([listed, number]))
    once = Navigation(name="nav", routes=str(file))
    assert list(twice.problems("id")) == list(once.problems("id"))
