"""Data sets of reasoning-gym: their options, their problems, and which of them are refused."""

from __future__ import annotations

import copy
import difflib
import io
import math
from contextlib import redirect_stdout
from dataclasses import fields
from functools import cache
from hashlib import sha256
from importlib import metadata, util
from typing import Any

from pydantic import Field

from healscope.errors import HealscopeError, one_line
from healscope.provenance import fingerprint
from healscope.sections import Section
from healscope.tasks.gym.unfit import REASONS, wrong_options

REVIEWED = "0.1.25"
"""The version of reasoning-gym whose scorers were read and tried for REASONS."""
MOST_ANSWER = 4096
"""Characters of an answer that a scorer is given, or twice the reference answer's; a longer one is
wrong. Some scorers need time that grows with the square of the length."""


class Configuration(Section):
    """A data set of reasoning-gym with options."""

    dataset: str | None = Field(
        None, description="name of the data set; null (OOD only): that of id, with its options"
    )
    options: dict[str, Any] = Field(
        {}, description="options of the data set's config class; others keep its defaults"
    )


def version() -> str:
    """Return the version of reasoning-gym; raises HealscopeError if it cannot be used."""
    if util.find_spec("reasoning_gym") is None:
        raise HealscopeError(
            "family gym needs reasoning-gym, which is not installed: run `make gym`"
        )
    found = metadata.version("reasoning-gym")
    if found != REVIEWED:
        raise HealscopeError(
            f"reasoning-gym {found} is installed, and its scorers were reviewed in {REVIEWED} only "
            "(some execute what a model writes): run `make gym`, which installs that version"
        )
    return found


class Generator:
    """One configuration of a data set. Problem i depends on the options, the seed and i alone.

    Attributes:
        dataset: name of the data set.
        options: its options.
    """

    def __init__(self, dataset: str, options: dict[str, Any], seed: int, size: int):
        self.dataset, self.options = dataset, options
        self._made = _create(dataset, options, _own_seed(seed), size)
        self._entries: dict[int, dict] = {}

    def __getitem__(self, index: int) -> dict:
        """Return problem `index`: question, answer (text), metadata.

        Raises HealscopeError where reasoning-gym fails to make it.
        """
        if index not in self._entries:
            try:
                with _silent():
                    entry = dict(self._made[index])
            except Exception as error:  # of reasoning-gym
                raise HealscopeError(
                    f"reasoning-gym cannot make problem {index} of {self.dataset} with options "
                    f"{self.options} ({one_line(error, 200)}); correct options"
                ) from None
            entry["answer"] = str(entry["answer"])
            self._entries[index] = entry
        return self._entries[index]

    def score(self, index: int, answer: str) -> float:
        """Return reasoning-gym's score of an answer, from 0 to 1. Never raises an Exception.

        An answer that the scorer cannot read, or that is too long (MOST_ANSWER), has score 0.
        """
        entry = copy.deepcopy(self[index])  # some scorers write into it
        if len(answer) > max(MOST_ANSWER, 2 * len(entry["answer"])):
            return 0.0
        try:
            score = float(self._made.score_answer(answer, entry))
        except Exception:  # of a scorer, on a text that it did not expect
            return 0.0
        return min(1.0, max(0.0, score)) if math.isfinite(score) else 0.0


def generator(dataset: str, options: dict[str, Any], seed: int, size: int) -> Generator:
    """Return the generator of a configuration, which is made once.

    Raises HealscopeError on a data set that there is not, or that is refused, and on options that
    it does not take.
    """
    key = fingerprint([dataset, options, seed, size])
    if key not in _GENERATORS:
        _GENERATORS[key] = Generator(dataset, options, seed, size)
    return _GENERATORS[key]


_GENERATORS: dict[str, Generator] = {}


def curriculum(dataset: str) -> Any:
    """Return reasoning-gym's curriculum of a data set, or None if it has none."""
    from reasoning_gym import factory

    _known(dataset)
    return factory.create_curriculum(dataset) if factory.has_curriculum(dataset) else None


@cache
def defaults(dataset: str) -> dict[str, Any]:
    """Return the options of a data set with their defaults."""
    from reasoning_gym import factory

    _known(dataset)
    made = factory.DATASETS[dataset][1]()
    return {field.name: getattr(made, field.name) for field in fields(made)}


def _known(dataset: str) -> None:
    """Raise HealscopeError on a data set that there is not, or that is refused."""
    version()
    from reasoning_gym import factory

    if reason := REASONS.get(dataset):
        raise HealscopeError(
            f"reasoning-gym's data set '{dataset}' cannot be a task here: {reason}; take another "
            "(docs/reasoning-gym.md)"
        )
    if dataset not in factory.DATASETS:
        near = difflib.get_close_matches(dataset, factory.DATASETS, 5)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise HealscopeError(
            f"reasoning-gym has no data set '{dataset}'{hint}: correct the name (docs/"
            "reasoning-gym.md lists them)"
        )


def _create(dataset: str, options: dict[str, Any], seed: int, size: int) -> Any:
    there = defaults(dataset)
    if taken := {"seed", "size"} & set(options):
        raise HealscopeError(
            f"options.{min(taken)}: leave it out; the task's keys seed and generated set it"
        )
    if unknown := sorted(set(options) - set(there)):
        raise HealscopeError(
            f"options.{unknown[0]}: data set {dataset} of reasoning-gym has no such option; it has "
            f"{', '.join(sorted(set(there) - {'seed', 'size'}))}"
        )
    if reason := wrong_options(dataset, {**there, **options}):
        raise HealscopeError(f"options: data set {dataset} of reasoning-gym: {reason}")
    import reasoning_gym

    given = {key: _like(there[key], value) for key, value in options.items()}
    try:
        with _silent():
            return reasoning_gym.create_dataset(dataset, seed=seed, size=size, **given)
    except Exception as error:  # of reasoning-gym's own checks
        raise HealscopeError(
            f"data set {dataset} of reasoning-gym refuses the options {options} "
            f"({one_line(error, 200)}); correct them"
        ) from None


def _silent() -> redirect_stdout:
    """Return a context in which nothing is printed: some data sets print dots."""
    return redirect_stdout(io.StringIO())


def _like(default: Any, value: Any) -> Any:
    """Turn a list into a tuple where the option's default is one: YAML has no tuples."""
    return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


def _own_seed(seed: int) -> int:
    """Return the seed of a data set. Seeds in sequence would share problems: problem i is drawn by
    seed + i."""
    return int.from_bytes(sha256(f"healscope {seed}".encode()).digest()[:4]) // 2
