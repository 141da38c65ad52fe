"""Verdict `follows`: what each condition takes and refuses."""

import pytest

from healscope.tasks.data.instructions import CONDITIONS, holds, prepare

JUDGED = [
    ({"case": "upper"}, "THE SEA IS BLUE, 3 TIMES.", "THE Sea"),
    ({"case": "upper"}, "ÄÖ", "3!"),
    ({"case": "lower"}, "the sea.", "The sea."),
    ({"case": "title"}, 'The "Sea" Is Blue', "The sea Is Blue"),
    ({"words": 3}, " a  b\nc ", "a b c d"),
    ({"at_most": 2}, "a b", "a b c"),
    ({"at_least": 2}, "a b c", "a"),
    ({"sentences": 2}, "It is. Is it?", "It is"),
    ({"sentences": 1}, "Pi is 3.14 ...", "It is. Yes."),
    ({"lines": 2}, "a\n\nb\n", "a"),
    ({"begins": "Once upon a time"}, '"Once upon  a time, it', "Once upon a timer"),
    ({"ends": "the end"}, "and so on. The end!", "and so on. The end came"),
    ({"has": ["blue", "wave"]}, "Blue is the wave.", "Blue are the waves."),
    ({"twice": "cold"}, "Cold, cold wind", "cold cold cold"),
    ({"without": "e"}, "a short story", "ThE"),
    ({"without": ","}, "no comma", "a, b"),
    ({"without": "e"}, "x", "1 2 3"),
    ({"quoted": True}, '"It is."', 'It is "so"'),
    ({"dashes": 2}, "Sure:\n- a\n- b\n", "- a\n- b\n- c"),
    ({"dashes": 2}, "- a\n- b", "* a\n* b"),
    ({"numbered": 2}, "1. a\n2) b", "1. a\n3. b"),
    ({"parts": 3}, "a, b, c", "a, b"),
    ({"keys": ["x", "y"]}, '```json\n{"x": 1, "y": 2, "z": 3}\n```', '{"x": 1}'),
    ({"keys": ["x"]}, '{"x": null}', 'Sure: {"x": 1}'),
    ({"array": 2}, "[1, 2]", "[1, 2, 3]"),
    ({"digits": 3}, "123.", "1234"),
    ({"one_of": ["yes", "no"]}, "Yes.", "Yes, it is"),
    ({"case": "upper", "words": 2}, "A CAT", "A cat"),
]


def test_every_condition_is_tried():
    assert {name for wanted, *_ in JUDGED for name in wanted} == set(CONDITIONS)


@pytest.mark.parametrize(("wanted", "right", "wrong"), JUDGED)
def test_a_condition_holds_of_what_follows_it_alone(wanted, right, wrong):
    ready = prepare(wanted, None)
    assert holds(ready, right)
    assert not holds(ready, wrong)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "not an object of conditions"),
        ("upper", "not an object of conditions"),
        ({"shout": 1}, "there is no condition 'shout'"),
        ({"words": "3"}, "'3' is not a value of condition words"),
        ({"words": True}, "True is not a value"),
        ({"case": "loud"}, "'loud' is not a value"),
        ({"keys": []}, "is not a value of condition keys"),
    ],
)
def test_what_is_no_condition_is_named(wanted, said):
    with pytest.raises(ValueError, match=said):
        prepare(wanted, None)
