"""docs/reruns.md: a rule depends on the config values that it uses, and on nothing else.

Each key of the config is changed by itself in a finished study, and the rules whose settings or
inputs changed by that are held against what is promised here. What follows from these through
files is Snakemake's own affair; `test_dag` looks at the whole plan of some changes.
"""

import re
from copy import copy, deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hollow import FAILING, GROWING, JOBS

from healscope import config

TABLES = {"tables", "claims"}  # those with intervals
WITHOUT_INTERVALS = {
    "exposure", "hidden-states", "principal-angles", "rl-training", "sft-training", "signals",
    "singular-values", "weight-updates",
}  # fmt: skip
# tables that tell training instances from others, or look at what SFT has read
OF_EXAMPLES = {
    "claims",
    "first_look",
    *(f"tables {n}" for n in ("curves", "exposure", "signals", "stopping")),
}
TRAINED = {"base_model", "sft", "rl"}
PROTOCOLS = ("exhaustive", "paper", "near")


def asked(*protocols):
    """Evaluations of checkpoints under these protocols."""
    return {f"evaluate_{run} {name}" for name in protocols for run in ("sft", "rl")}


EVALUATIONS = asked(*PROTOCOLS)
ANSWERS = EVALUATIONS | {"edit"}
DEALT = {"task_tables", "posed", "measure_signals"} | ANSWERS


@dataclass(frozen=True)
class Promise:
    """What keys that fit one of these patterns are used by, if they fit none above, and a change
    that shows it: `key` becomes `value`, which is merged if it is a dict."""

    keys: str
    key: str
    value: object
    rules: set[str]


PROMISES = [
    Promise("study", "study", "other", set()),
    # tasks: a reward pays and judges, a verifier also judges along training; what decides which
    # problems there are reaches training by the files of problems
    Promise("tasks.gp3.rewards.*", "tasks.gp3.rewards.wrong_value", -0.5, {"rl"} | ANSWERS),
    Promise("tasks.gp3.*", "tasks.gp3.id_rule", {"J": 10, "Q": 10, "K": 12}, TRAINED | DEALT),
    Promise("tasks.gp3.held_out tasks.gp3.orders tasks.gp3.seed", "tasks.gp3.held_out", 0.5, DEALT),
    Promise("tasks.gp3.verifier tasks.gp3.grade_number_line", "tasks.gp3.grade_number_line", False,
            TRAINED | {"measure_signals"} | ANSWERS),
    # models: what jobs ask for and how they are launched changes no result, but for the precision
    Promise("models.micro.scratch.pretraining.*", "models.micro.scratch.pretraining.steps", 31,
            {"base_model"}),
    Promise("models.micro.scratch.*", "models.micro.scratch.architecture.ffn_size", 32,
            {"base_model"}),
    Promise("models.micro.needs*", "models.micro.needs", {"sft": {"mem_mb": 9}, "rl": {"gpus": 1}},
            set()),
    Promise("models.micro.launch.precision", "models.micro.launch", {"precision": "bfloat16"},
            {"sft", "rl"}),
    Promise("models.micro.launch.*", "models.micro.launch", {"micro_batch": 4}, set()),
    Promise("models.micro.check_random", "models.micro.check_random", True, {"factors"}),
    # of given checkpoints, which this study has none of
    Promise("models.micro.end_token models.micro.pickles models.micro.adapters_of "
            "models.micro.followed", "models.micro.adapters_of", ["me/other"], set()),
    # SFT: its own settings; how many examples it draws is also known to what draws the same
    Promise("sft.deals", "sft.deals", 10, {"sft", "rl", "measure_signals"} | OF_EXAMPLES),
    Promise("sft.examples", "sft.examples", 30,
            {"sft", "rl", "measure_signals"} | OF_EXAMPLES),
    Promise("sft.methods.kl.*", "sft.methods", {"kl": {"strength": 3.0}}, {"sft kl"}),
    Promise("sft.methods.*", "sft.methods", {"l2": {"strength": 3.0}}, set()),
    Promise("sft.optimizer.*", "sft.optimizer.learning_rate", 1e-4, {"sft"}),
    Promise("sft.*", "sft.batch_size", 8, {"sft"}),
    # RL: a recipe is used by its own branches; of all that is listed, tables of logs are told
    Promise("rl.recipes.grpo.*", "rl.recipes.grpo", {"temperature": 0.9}, {"rl grpo"}),
    Promise("rl.recipes.ppo.*", "rl.recipes.ppo.temperature", 0.9, {"rl ppo"}),
    Promise("rl.recipes.dpo.*", "rl.recipes.dpo.beta", 0.3, {"rl dpo"}),
    Promise("rl.recipes.* rl.branches_of", "rl.recipes.rloo", {"temperature": 0.5}, set()),
    Promise("rl.defaults.*", "rl.defaults.state_every", 1, {"rl ppo", "rl grpo", "rl dpo",
                                                            "rl sft_more"}),
    Promise("rl.pools.*", "rl.pools.samples", 4, set()),
    Promise("rl.engine", "rl.engine", "vllm", {"rl ppo", "rl grpo", "rl dpo"}),
    # evaluation: a protocol that poses other problems also asks edits others; retries do not
    Promise("evaluation.variants_per_job", "evaluation.variants_per_job", 12, set()),
    Promise("evaluation.keeper_tokens", "evaluation.keeper_tokens", 65, set()),
    Promise("evaluation.batch_size", "evaluation.batch_size", 64, ANSWERS),
    Promise("evaluation.precision", "evaluation.precision", "bfloat16", ANSWERS),
    Promise("evaluation.engine", "evaluation.engine", "vllm", ANSWERS),
    Promise("evaluation.max_new_tokens", "evaluation.max_new_tokens", 25,
            ANSWERS | {"sft", "rl", "measure_signals"}),
    Promise("evaluation.protocols.exhaustive.samples", "evaluation.protocols.exhaustive.samples", 3,
            asked("exhaustive")),
    Promise("evaluation.protocols.exhaustive.*", "evaluation.protocols.exhaustive.seed", 3,
            asked("exhaustive") | {"posed exhaustive", "edit"}),
    Promise("evaluation.protocols.paper.temperature", "evaluation.protocols.paper.temperature", 0.5,
            asked("paper")),
    Promise("evaluation.protocols.paper.top_p", "evaluation.protocols.paper.top_p", 0.5,
            asked("paper")),
    Promise("evaluation.protocols.paper.*", "evaluation.protocols.paper.hands", 11,
            asked("paper") | {"posed paper"}),
    Promise("evaluation.protocols.near.*", "evaluation.protocols.near.per_kind", 3,
            asked("near") | {"posed near"}),
    # measurements and answers: each its own section
    Promise("landmarks.*", "landmarks.maxood", 4, {"landmarks"}),
    Promise("checkpoints.keep", "checkpoints.keep", "landmarks", {"drop_weights"}),
    Promise("spectra.matrices", "spectra.matrices", ["q", "k"],
            {"factors", "compare", "measure_signals"}),
    Promise("spectra.*", "spectra.controls", ["noise"], {"compare"}),
    Promise("signals.*", "signals.problems", 9, {"measure_signals"}),
    Promise("hidden_states.*", "hidden_states.problems", 9, {"measure_hidden_states"}),
    Promise("vllm.*", "vllm", {"dtype": "float16"}, set()),
    Promise("claims.*", "claims.primary", ["gate-recovery"], {"claims"}),
    Promise("statistics.*", "statistics.confidence", 0.9, TABLES | {"first_look"}),
    Promise("figures.*", "figures.palette", "deep", {"figures", "first_look"}),
]  # fmt: skip


# Keys that decide which files there are: what they add is made, see below and `test_dag`.
GRID = [
    "seeds", "train_on", "tasks.gp3.family", "models.micro.source", "models.micro.revision",
    "models.micro.sft", "models.micro.rl*", "sft.checkpoints", "sft.arms", "rl.branches.*",
    "rl.main", "evaluation.keepers", "evaluation.protocols.*.problems", "edits.*",
]  # fmt: skip


def changed(workflow, key, value):
    """The hollow study as it stands, and as another config sees it."""
    before = workflow.config
    workflow.config = deepcopy(before)
    *sections, last = key.split(".")
    place = workflow.config
    for name in sections:
        place = place.setdefault(name, {})
    place[last] = {**place.get(last, {}), **value} if isinstance(value, dict) else value
    try:
        return workflow.files()
    finally:
        workflow.config = before


def labels(file, rule) -> set[str]:
    """Names of a file's rule in `PROMISES`: a general one, and a special one."""
    name = re.sub(r"_\d+$", "", rule)
    if name.startswith("evaluate_"):
        _, run, protocol = name.split("_", 2)
        return {f"evaluate_{run} {protocol}"}
    if name.startswith("fig"):
        return {"figures"}
    general = {"table": "tables", "edit": "edit", "factors": "factors"}.get(
        name.split("_")[0], name
    )
    if general == "tables":
        table = Path(file).stem
        return {f"tables {table}", *([] if table in WITHOUT_INTERVALS else ["tables"])}
    special = {
        "sft": r"/(?:training/.*/)?(\w+?)(?:-\d+/checkpoint.json|\.parquet)$",
        "rl": r"/(\w+)-from-",
        "posed": r"protocols/(\w+)",
    }.get(general)
    return {general, *([f"{general} {re.search(special, file)[1]}"] if special else [])}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda p: p.key)
def test_a_changed_key_reruns_what_uses_it_and_nothing_else(hollow, promise):
    files = changed(hollow, promise.key, promise.value)
    promised = {f for f, made in files.items() if labels(f, made.rule) & promise.rules}
    assert bool(promised) == bool(promise.rules)
    assert {f for f, made in files.items() if made.own} == promised
    assert {f for f, made in files.items() if made.again} >= promised


def test_a_finished_study_stands(hollow):
    assert not [f for f, made in hollow.files().items() if made.own or made.again]


def test_something_is_promised_of_every_key(hollow):
    """A key that is new needs a line above, and one in docs/reruns.md."""

    def keys(values, above=""):
        for name, value in values.items():
            if isinstance(value, dict) and value:
                yield from keys(value, f"{above}{name}.")
            else:
                yield f"{above}{name}"

    resolved = config.load(hollow.config).model_dump(mode="json")
    patterns = [*GRID, *(pattern for p in PROMISES for pattern in p.keys.split())]
    found = {key: [p for p in patterns if fnmatch(key, p)] for key in keys(resolved)}
    assert not [key for key, fitting in found.items() if not fitting]
    assert not set(patterns) - {p for fitting in found.values() for p in fitting}


def test_new_edits_are_made_and_what_shows_them(hollow):
    """Those that stand are not made again, and no figure or table of anything else is."""
    before, after = hollow.files(), changed(hollow, "edits.axes.rank", [0.25, 0.5, 1.0])
    new = set(after) - set(before)
    kinds = config.load(hollow.config).edits.kinds
    assert {f.split("/")[-2] for f in new} == {f"{kind}-rank-0.25" for kind in kinds}
    shown = {"repair", "claims", "reversion-sft", "reversion-rl"}
    own = {f for f, made in after.items() if made.own} - new
    assert {f.split("/")[-1].split(".")[0] for f in own} == shown


def test_a_keeper_adds_its_answers_and_runs_nothing_again(hollow):
    """Neither training nor spectra; of what stands, only what shows keepers is made anew."""
    before = hollow.files()
    asked = deepcopy(hollow.config)
    tasks = {**asked["tasks"], "twelve": {**asked["tasks"]["gp3"], "targets": [12]}}
    with_task = copy(hollow)
    with_task.config = {**asked, "tasks": tasks}
    after = changed(with_task, "evaluation.keepers", ["twelve"])
    new = set(after) - set(before)
    shown = {"tables/keepers.parquet", "figures/fig_keepers.pdf", "figures/fig_keepers.png"}
    own = {f for f in new if "/twelve/" in f or f.endswith("/twelve.parquet")}
    assert new == own | {f"results/{f}" for f in shown}
    study = config.load(
        with_task.config | {"evaluation": asked["evaluation"] | {"keepers": ["twelve"]}}
    )
    checkpoints = {f.split("/")[-2] for f in own if f.startswith("results/evals/exhaustive/micro/")}
    assert checkpoints == {*study.sft_checkpoints(), *study.branches}
    edited = {f.split("/")[-2] for f in own if f.startswith("results/edits/micro/seed-0/sft/")}
    assert edited == set(study.edits.names())
    again = {made.rule for f, made in after.items() if made.again and f not in new}
    assert again == {"table", "claims", "fig_repair"}
    tables = {Path(f).stem for f, made in after.items() if made.again and made.rule == "table"}
    assert tables == {"keepers", "repair"}


def test_a_new_seed_makes_its_own_files_and_the_tables_of_all(hollow):
    before, after = hollow.files(), changed(hollow, "seeds", [0, 1])
    new = set(after) - set(before)
    of_seed = {f.replace("seed-0", "seed-1") for f in before if "seed-0" in f}
    assert new == of_seed | {"results/tables/mask-overlap.parquet"}
    again = {made.rule for f, made in after.items() if made.again and f not in new}
    assert {re.sub("fig.*", "figures", rule) for rule in again} == {"table", "claims", "figures"}


@pytest.fixture(scope="module")
def passing(hollow, tmp_path_factory):
    """Files of the study with `checkpoints.keep: landmarks`, finished."""
    workflow = hollow.copied(tmp_path_factory.mktemp("passing") / "copy")
    workflow.config["checkpoints"] = {"keep": "landmarks"}
    workflow.run()
    return workflow.files()


def test_weights_that_edits_or_landmarks_need_stay(passing):
    """Checkpoints that may be MaxOOD are asked about, and stay if they are (`checkpoints.drop`)."""
    trained = {f.split("/")[-2] for f in passing if f.endswith("/checkpoint.json")}
    asked_about = {f.split("/")[-2] for f in passing if f.endswith("/dropped.json")}
    end, rl, edited = "sft-8", "ppo-from-8", {"sft-12", "sft-4"}
    assert asked_about == trained - {"base", end, rl, *edited}


def test_weights_go_after_everything_that_reads_them(passing):
    """Of jobs that read the landmarks as well, none reads a checkpoint that is not one of them."""

    def behind(file):
        found, new = set(), {file}
        while new:
            found |= new
            new = {i for f in new if f in passing for i in passing[f].inputs} - found
        return found

    dropped = [f for f in passing if f.endswith("/dropped.json")]
    assert dropped
    for file in dropped:
        weights = file.replace("dropped", "checkpoint")
        readers = {
            f for f, made in passing.items()
            if weights in made.inputs
            and f not in dropped
            and not any("/landmarks/" in i for i in made.inputs)
        }  # fmt: skip
        # one job fills several files: it is done when one of them is there
        jobs = {f: (made.rule, made.inputs) for f, made in passing.items() if f in readers}
        done = {jobs[f] for f in behind(file) & readers}
        assert set(jobs.values()) <= done, file


def test_a_job_that_failed_asks_for_twice_the_memory_and_time(hollow, tmp_path):
    """Rules that train or load a model, and small ones alike."""
    study = hollow.copied(tmp_path / "copy")
    for rule, file in {
        "sft": "results/training/micro/seed-0/sft.parquet",
        "landmarks": "results/landmarks/micro/seed-0.json",
    }.items():
        (study.folder / JOBS).unlink(missing_ok=True)
        (study.folder / FAILING).write_text(rule)
        study.run("--retries", "1", "--forcerun", rule, "--", file)
        asked_for = study.jobs().query("rule == @rule")
        assert len(asked_for) == 2
        first, second = asked_for[GROWING].to_numpy()
        assert list(second) == list(2 * first)
