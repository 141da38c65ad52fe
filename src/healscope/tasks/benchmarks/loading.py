"""Find benchmarks of lm-evaluation-harness by name, and refuse those that cannot be tasks here.

Refused is everything that is not a question with a right and a wrong answer, and everything that
would run code from a hub or from a model.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from healscope.errors import HealscopeError, one_line
from healscope.tasks.benchmarks.harness import COUNTED, INVALID, WRITTEN, Benchmark

ByTask = str | Mapping[str, str] | None
"""A setting of all tasks, or of those that it names."""


def load(
    sides: Mapping[str, Sequence[str]],
    include: str | None = None,
    fewshot: int | None = None,
    metric: ByTask = None,
    filters: ByTask = None,
    seed: int = 1234,
) -> dict[str, dict[str, Benchmark]]:
    """Load the benchmarks behind names of tasks, groups and tags: side -> name -> benchmark.

    `include` is a folder with local tasks, which go before those of the harness. `seed` draws the
    examples of prompts. Raises HealscopeError on tasks that cannot be asked here.
    """
    manager = _manager([name for names in sides.values() for name in names], include)
    leaves = {
        side: [leaf for name in names for leaf in _leaves(manager.task_index, name)]
        for side, names in sides.items()
    }
    together = [leaf for side in leaves.values() for leaf in side]
    if twice := {name for name in together if together.count(name) > 1}:
        raise HealscopeError(f"'{min(twice)}' is named twice (id, ood); name it once")
    for key, said in (("metric", metric), ("filter", filters)):
        unknown = set(said or ()) - set(together) if not isinstance(said, str) else ()
        if unknown:
            raise HealscopeError(
                f"{key}: '{min(unknown)}' is not one of the tasks {', '.join(together)}; correct it"
            )

    def of(name: str, said: ByTask) -> str | None:
        return said if isinstance(said, str) else (said or {}).get(name)

    return {
        side: {
            name: _load(manager, name, fewshot, of(name, metric), of(name, filters), seed)
            for name in names
        }
        for side, names in leaves.items()
    }


class _Unknown(HealscopeError):  # noqa: N818 (what happened)
    """A name is not in the index of tasks."""


def _manager(names: Sequence[str], include: str | None) -> Any:
    """Build the harness's index, with its own thousands of tasks (seconds) only if needed."""
    from lm_eval.tasks import TaskManager

    if include is not None:
        here = TaskManager(include_path=include, include_defaults=False)
        try:
            for name in names:
                list(_leaves(here.task_index, name))
            return here
        except _Unknown:
            pass
    return TaskManager(include_path=include)


def _leaves(index: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the tasks that a name stands for."""
    from lm_eval.tasks._factory import GROUP_FIELD_NAMES
    from lm_eval.tasks._index import Kind

    entry = index.get(name)
    if entry is None:
        near = difflib.get_close_matches(name, index, 5)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise _Unknown(
            f"lm-evaluation-harness has no task, group or tag '{name}'{hint}: correct id and ood, "
            "or name in include the folder with its YAML"
        )
    if entry.kind is Kind.TAG:
        yield from sorted(entry.tags)
    elif entry.kind is not Kind.GROUP:
        yield name
    else:
        members = entry.cfg.get("task") or []
        named = [m if isinstance(m, dict) else {"task": m} for m in members]
        changed = set(entry.cfg) - GROUP_FIELD_NAMES - {"tag"}
        changed |= {key for m in named for key in m} - {"task", "task_alias", "tag"}
        if changed or isinstance(members, str):
            raise HealscopeError(
                f"the group '{name}' changes settings of its tasks "
                f"({', '.join(sorted(changed)) or 'task'}); name tasks instead of the group"
            )
        for member in named:
            yield from _leaves(index, member["task"])


def _load(
    manager: Any,
    name: str,
    fewshot: int | None,
    metric: str | None,
    filter_name: str | None,
    seed: int,
) -> Benchmark:
    entry = manager.task_index[name]
    if reason := _unfit(entry.cfg):
        raise HealscopeError(f"'{name}' cannot be a task here: {reason}")
    kind = entry.cfg.get("output_type", WRITTEN)
    metrics, refused = _metrics(entry.cfg, kind)
    if metric is not None:
        metrics = {m: sure for m, sure in metrics.items() if m == metric}
        refused = {m: why for m, why in refused.items() if m == metric}
    for chosen, sure in metrics.items():
        found = _built(manager, entry, kind, chosen, fewshot, filter_name, seed)
        try:
            reason = None if sure else found.refusal()
        except Exception as error:  # whatever the benchmark's own code has to say
            reason = f"fails on its first documents ({one_line(error, 300)})"
        if reason is None:
            return found
        refused[chosen] = reason
    said = "; ".join(f"{m} {why}" for m, why in refused.items())
    if metric is not None and not said:
        there = ", ".join(_names(entry.cfg, kind))
        said = f"it has no metric {metric} (metric), but {there}"
    raise HealscopeError(
        f"'{name}' cannot be a task here: none of its metrics says whether one answer is right"
        f" ({said or 'it names none'}); take another task"
        + (", or another metric" if metric is not None else "")
    )


def _unfit(section: Mapping[str, Any]) -> str | None:
    """Say why a task cannot be asked here, by its YAML; None if it can."""
    reasons = {
        "it runs code that a model writes (unsafe_code)": section.get("unsafe_code"),
        "it measures perplexity, which is never right or wrong": section.get("output_type")
        == "loglikelihood_rolling",
        "it shows images or plays sounds": section.get("doc_to_image")
        or section.get("doc_to_audio"),
        "it is a Python class, not a YAML file, and asks in its own way": section.get("class"),
        "it counts several answers to a question (repeats), which evaluation.protocols are for": (
            section.get("repeats") or 1
        )
        != 1,
        "its prompts come from the package promptsource (use_prompt)": section.get("use_prompt"),
        "its data are pickles, which can run code": section.get("dataset_path") == "pandas",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _entries(section: Mapping[str, Any], kind: str) -> list[dict]:
    from lm_eval.api import metrics  # noqa: F401 (fills the registry)
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    listed = section.get("metric_list")
    if listed is None:
        return [{"metric": metric} for metric in DEFAULT_METRIC_REGISTRY[kind]]
    return listed


def _names(section: Mapping[str, Any], kind: str) -> list[str]:
    """List the names of a task's metrics; the index gives functions with their path."""
    named = [str(entry["metric"]) for entry in _entries(section, kind)]
    return [name.rpartition(".")[2] if "/" in name else name for name in named]


def _metrics(section: Mapping[str, Any], kind: str) -> tuple[dict[str, bool], dict[str, str]]:
    """Return metric -> whether it surely is 0 or 1, and metric -> why it is refused."""
    from lm_eval.api.registry import get_aggregation, get_metric_aggregation, metric_registry

    mean = get_aggregation("mean")
    fit: dict[str, bool] = {}
    refused: dict[str, str] = {}
    own = section.get("process_results") is not None
    for name, entry in zip(_names(section, kind), _entries(section, kind), strict=True):
        function = "/" in str(entry["metric"])  # of the task's Python
        aggregation = entry.get("aggregation")
        if entry.get("hf_evaluate") or not (own or function or name in metric_registry):
            refused[name] = "is code that would be fetched from a hub"
        elif aggregation not in (None, "mean") or (
            aggregation is None
            and not own
            and not function
            and get_metric_aggregation(name) is not mean
        ):
            refused[name] = "is no mean over answers"
        elif entry.get("higher_is_better") is False:
            refused[name] = "is better where it is lower"
        elif own or function:
            fit[name] = False
        elif name in COUNTED[kind]:
            fit[name] = True
        else:
            refused[name] = "is none that can be counted here"
    return fit, refused


def _built(
    manager: Any,
    entry: Any,
    kind: str,
    metric: str,
    fewshot: int | None,
    filter_name: str | None,
    seed: int,
) -> Benchmark:
    """Build the task with this metric alone, as the harness itself would run it."""
    names = _names(entry.cfg, kind)
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        with _seeded():
            listed = load_yaml(entry.yaml_path).get("metric_list")
            only = listed[names.index(metric)] if listed else {"metric": metric}
            kept = {"metric_list": [only]}
            task = manager._factory.build(entry, overrides=kept, registry=manager.task_index)
            # as the harness: examples that a task says it has none of are not given
            if fewshot is not None and task.config.num_fewshot != 0:
                task.set_config("num_fewshot", fewshot)
            task.set_fewshot_seed(seed)
    except Exception as error:  # of data, of a hub, of the task's own Python
        script = "scripts are no longer supported" in str(error)
        raise HealscopeError(
            f"'{entry.name}' cannot be loaded ({one_line(error, 300)}); "
            + (
                "its data need code of their own (trust_remote_code), which is not run: take "
                "another task"
                if script
                else "correct it, or fetch its data first where there is a network "
                "(docs/benchmarks-as-tasks.md)"
            )
        ) from None
    filters = [f.name for f in task._filters]
    if filter_name is not None and filter_name not in filters:
        raise HealscopeError(
            f"'{entry.name}' has no filter '{filter_name}' but {', '.join(filters)}; correct filter"
        )
    said = [f for each in entry.cfg.get("filter_list") or [] for f in each["filter"]]
    unread = {f["fallback"] for f in said if isinstance(f.get("fallback"), str)}
    return Benchmark(
        entry.name,
        task,
        kind,
        metric,
        filter_name or filters[0],
        seed,
        frozenset({INVALID, "", *unread}),
    )


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed Python's and numpy's global generators as a run of the harness does, and restore them.

    Tasks that shuffle their choices draw from these.
    """
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
