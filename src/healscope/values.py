"""Which values of a study a rule depends on: plain ones, its params in the workflow.

A job is run again where one of them has changed, so a rule is given no more than it uses.
"""

from healscope import artifacts
from healscope.config import EXHAUSTIVE, Protocol, Sampling, Study
from healscope.tasks.posing import ONCE

POSING = {"problems", "hands", "per_kind", "seed", "retried_orders"}
"""Values of a protocol that decide which problems it poses."""


def section(study: Study, *names: str) -> dict:
    """Return sections of the config."""
    return {name: getattr(study, name).model_dump(mode="json") for name in names}


def task(study: Study, name: str, without: tuple[str, ...] = ()) -> dict:
    """Return the values of a task, without those kinds that a rule does not use.

    A kind is an attribute of the task's class that names them: a new reward draws no new problems.
    """
    section = study.tasks[name]
    unused = {key for kind in without for key in getattr(section.task_class, kind)}
    return section.model_dump(mode="json", exclude=unused)


def model(study: Study, track: str) -> dict:
    """Return the values of a model that its base is made from.

    A model that is trained from scratch is not checked against a random one.
    """
    found = study.model_of(track)
    unused = {"needs", "launch", "adapters_of", "pickles", "followed"}
    unused |= {"check_random", "end_token"} if found.scratch else set()
    unused |= {"end_token"} if found.end_token is None else set()
    return found.model_dump(mode="json", exclude=unused)


def sft(study: Study, arm: str) -> dict:
    """Return the values of SFT that an arm uses: of all methods, its own."""
    plain = study.sft.model_dump(mode="json", exclude={"arms", "methods"})
    if arm not in study.sft.methods:
        return plain
    return plain | {"methods": {arm: study.sft.methods[arm].model_dump(mode="json")}}


def examples(study: Study) -> dict:
    """Return how many instances, and examples of each, SFT draws."""
    return study.sft.model_dump(mode="json", include={"deals", "examples"})


def recipe(study: Study, branch: str) -> dict:
    """Return the values of the recipe of a branch."""
    return study.rl.recipes[artifacts.parse_branch(branch)[0]].model_dump(mode="json")


def task_of_branch(study: Study, track: str, branch: str) -> dict:
    """Return the values of its task that a branch uses: what decides which problems there are only
    where the task deals some for the recipe, as all others are in files."""
    found = study.rl.recipes[artifacts.parse_branch(branch)[0]]
    return task(study, study.task_of(track), () if found.deals else ("dealing_only",))


def pool_at(study: Study, branch: str) -> list[str]:
    """Return where a branch needs to know how hard training problems are: its start, or nowhere."""
    recipe, start = artifacts.parse_branch(branch)
    return [artifacts.sft(start)] if study.rl.measures_pool(recipe) else []


def mask_of(study: Study, branch: str) -> list[str]:
    """Return the branch whose changes say which entries another one trains; none without a mask."""
    mask = getattr(study.rl.recipes[artifacts.parse_branch(branch)[0]], "mask", None)
    return [] if mask is None else [mask.of]


def pools(study: Study) -> dict:
    """Return how pass rates of training problems are measured."""
    return study.rl.pools.model_dump(mode="json")


def sampling_engine(study: Study, branch: str) -> dict | None:
    """Return what engine vllm adds to the values that a branch depends on, where it samples."""
    found = study.rl.recipes[artifacts.parse_branch(branch)[0]]
    values = study.engine_values(study.rl.engine) if isinstance(found, Sampling) else {}
    return values.get("vllm")


def protocol(settings: Protocol, only: set[str] | None = None) -> dict:
    """Return the values of a protocol (or those in `only`) that its problems use."""
    unused = set() if settings.problems in ONCE else {"per_kind"}
    return settings.model_dump(mode="json", include=only, exclude=unused)


def evaluation(study: Study, name: str, tasks: list[str], first_attempts: bool = False) -> dict:
    """Return all values that evaluations on tasks under a protocol depend on."""
    chosen = study.evaluation.protocols[name]
    if first_attempts:
        chosen = chosen.first_attempts()
    unused = {"variants_per_job", "protocols", "keepers", "keeper_tokens"}
    if study.evaluation.precision == "float32":
        unused |= {"precision"}  # as results of versions without it are known by
    return {
        "evaluation": study.evaluation.model_dump(mode="json", exclude=unused),
        "protocols": {name: protocol(chosen)},
        "tasks": {task_name: task(study, task_name) for task_name in tasks},
        **study.engine_values(study.evaluation.engine),
    }


def keepers(study: Study) -> dict:
    """Return all values that first attempts at keepers depend on; only ID problems are asked."""
    found = evaluation(study, EXHAUSTIVE, study.evaluation.keepers, first_attempts=True)
    longest = {"max_new_tokens": study.evaluation.keeper_tokens}
    return found | {"evaluation": found["evaluation"] | longest, "rules": ["id"]}
