"""Pairs of checkpoints in which only singular values, or only singular vectors, carry a skill.

A small transformer learns two tables by heart. Its target is that model with the singular values of
every matrix drawn apart, or with its singular vectors turned: either costs most of the skill. In
both worlds the other part of the update is there too, and harmless. The whole chain must tell the
worlds apart: factors, edits in memory, answers, tables and verdicts.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pytest
import torch
from targets import later

from healscope import provenance
from healscope.config import Evaluation, Protocol, Statistics
from healscope.config.models import Architecture
from healscope.edit_kinds import ANGLE, CONTROLS, KINDS, NORM, WHOLE_NORM
from healscope.edit_names import names_along, parse
from healscope.engines import HF
from healscope.evaluation.evaluate import Target, evaluate
from healscope.findings import edit_controls, edit_tests, reversions
from healscope.findings.contrasts import Data
from healscope.findings.rows import first_attempts, with_steps
from healscope.models import checkpoints, tokens
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint
from healscope.schema import check
from healscope.schemas import SCHEMAS
from healscope.spectra.factors import load
from healscope.spectra.sweep import Pair, Sweep
from healscope.tasks.problem import Problem, Rendering
from healscope.tasks.task import Task
from healscope.training.base import scratch_model
from healscope.training.planted import planted
from healscope.verdicts import NO, YES

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
SEEDS = (0, 1, 2)
POINTS = {"target": "end", "parent": "maxood"}
CHECKPOINTS = {"maxood": "sft-9", "end": "sft-59"}
WHOLE = names_along(
    ["values", "directions"],
    {},
    {
        "values": ["interpolation", "noise"],
        "directions": ["rotation"],
        "diagonal": ["noise", "rest"],
        "offdiagonal": ["noise", "rotation"],
    },
    {"rank": [1.0]},
)
HALF = names_along(
    ["pinned", "orthonormal"],
    {},
    {"pinned": ["interpolation", "rotation"], "orthonormal": ["shuffle"], "block": ["rest"]},
    {"rank": [0.5]},
)
NAMES = [*WHOLE, *HALF]
PLANTED = {"values": (1.5, 0.05), "vectors": (0.05, 0.4)}  # spread of values, turn of vectors


@dataclass(frozen=True, kw_only=True)
class Recalling(Task):
    """Which number goes with this one? Each rule has a table of its own."""

    rendering: Rendering = "compact"
    held_out: float = 1.0
    size: int = 40

    def problems(self, rule):
        for n in range(self.size):
            other = 7 * n + 3 if rule == "id" else 11 * n + 5
            yield Problem(f"{n}", rule, {"n": n}, f"n{other % self.size}")

    def render(self, problem):
        return f"n{problem.data['n']} {problem.rule}"

    def verify(self, problem, text):
        return self.verdict("correct" if text.strip() == problem.answer else "wrong")


TASK = Recalling(name="recalling")


def trained(tokenizer, table, seed):
    """A transformer of two layers that knows the answer to every problem of the table."""
    shape = Architecture(hidden_size=32, layers=2, heads=2, ffn_size=64)
    model = scratch_model(shape, tokenizer, seed)
    pairs = list(zip(table["prompt"], table["response"], strict=True))
    ids, _, width, _ = tokens.encode_pairs(tokenizer, pairs)
    labels = ids.clone()
    labels[:, :-width] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(400):
        output = model(ids, labels=labels)
        if output.loss.item() < 0.03:
            break
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    return model.eval()


@dataclass
class World:
    """Files of a study of three seeds, and the pair of checkpoints of each."""

    edits: list[str]
    evaluations: list[str]
    landmarks: list[str]
    pairs: list[Pair]
    name: str

    @cached_property
    def data(self):
        rows = with_steps(first_attempts(self.evaluations))
        edited = first_attempts(self.edits)
        return Data(
            rows=rows, train_rows=rows, faceless=rows, drawn=[],
            edits=edited.assign(checkpoint="sft:" + edited["checkpoint"]), signals=None, logs=None,
            recipes={}, stages={"sft": POINTS}, settings=Statistics(resamples=300),
            landmarks=dict(enumerate(provenance.read_json(m)["landmarks"] for m in self.landmarks)),
        )  # fmt: skip

    @cached_property
    def claims(self):
        found = [*reversions.reverting(self.data), *edit_controls.controls(self.data)]
        return {r["claim"].replace("-sft", ""): r for r in found}

    @cached_property
    def table(self):
        files = self.edits, self.evaluations, self.landmarks
        return reversions.reversion(*files, "sft", {"sft": POINTS}, Statistics(resamples=20))


@pytest.fixture(scope="module")
def parents():
    """(tokenizer, problems, a trained model for each seed)."""
    torch.set_num_threads(1)
    tokenizer = tokens.word_tokenizer(list(TASK.words()))
    table = TASK.posed(TASK.problem_table(), Protocol())
    return tokenizer, table, [trained(tokenizer, table, seed) for seed in SEEDS]


@pytest.fixture(scope="module", params=[later("values"), "vectors"])
def world(request, parents, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer, table, models = parents
    made = World([], [], [], [], request.param)
    for seed, model in zip(SEEDS, models, strict=True):
        _study(made, folder / str(seed), request.param, seed, tokenizer, table, model)
    return made


def _study(made, folder, world, seed, tokenizer, table, model):
    """One seed: two checkpoints, their answers, and those of every edit."""
    kept = {name: w.clone() for name, w in model.state_dict().items()}
    for name, checkpoint in CHECKPOINTS.items():
        if name == "end":
            generator = torch.Generator().manual_seed(seed)
            for tensor, weight in model.state_dict().items():
                if "_proj" in tensor:
                    weight.copy_(planted(weight, *PLANTED[world], generator))
        checkpoints.save_weights(folder / "staged" / checkpoint, model, tokenizer)
        manifest = folder / checkpoint / "checkpoint.json"
        checkpoints.publish(folder / "staged" / checkpoint, manifest, {})
    model.load_state_dict(kept)
    manifests = [folder / CHECKPOINTS[point] / "checkpoint.json" for point in POINTS.values()]
    pair = Pair(*(Stored(m.parent) for m in manifests), *(load(m, ROLES) for m in manifests))
    whole = [from_checkpoint(m.parent.name, m) for m in manifests]
    named = {"track": "m", "seed": seed, "protocol": "exhaustive", "task": TASK.name}
    for variants, names, more, files in (
        (whole, list(CHECKPOINTS.values()), {}, made.evaluations),
        (Sweep(pair).variants(NAMES), NAMES, {"stage": "sft"}, made.edits),
    ):
        targets = [
            Target(n, TASK.name, str(folder / "answers" / f"{n}.parquet"),
                   provenance.record({"checkpoint": n}), {**named, **more, "checkpoint": n})
            for n in names
        ]  # fmt: skip
        loaded, _ = checkpoints.load_model(manifests[0])
        evaluate(HF(loaded, pair.target), tokenizer, variants, {TASK.name: (TASK, table)}, targets,
                 Protocol(), Evaluation(max_new_tokens=2), "test")  # fmt: skip
        files += [t.file for t in targets]
    marks = {
        point: {"checkpoint": name, "step": int(name[4:]), "by_half": dict.fromkeys("ab", name)}
        for point, name in CHECKPOINTS.items()
    }
    marks["maxood_uncorrected"] = marks["maxood"]
    made.landmarks.append(str(folder / "landmarks.json"))
    provenance.write_json(made.landmarks[-1], {"track": "m", "seed": seed, "landmarks": marks})
    made.pairs.append(pair)


def accuracy(table, name):
    """OOD accuracy over all seeds."""
    row = table[(table["name"] == name) & (table["rule"] == "ood") & (table["seed"] == "all")]
    return float(row["accuracy"].iloc[0])


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize("turn", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(12, 12), (30, 12), (12, 30)])
def test_values_and_vectors_are_planted_apart(shape, spread, turn):
    """Spreading keeps vectors, norm and order; turning keeps values. Angles are as said."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(*shape, generator=generator, dtype=torch.float64)
    made = planted(weight, spread, turn, generator)
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    assert torch.allclose(torch.linalg.matrix_norm(made), torch.linalg.matrix_norm(weight))
    steeper = s ** (1 + spread)
    expected = steeper * s.norm() / steeper.norm()
    assert torch.allclose(torch.linalg.svdvals(made), expected)
    if turn == 0:
        assert torch.allclose(u.T @ made @ vh.T, torch.diag(expected), atol=1e-12)
    else:
        left = torch.linalg.svd(made, full_matrices=False)[0]
        cosines = (u * left).sum(0).abs()
        # a vector turns by the root mean square of the angles of the rotation
        assert cosines.acos().square().mean().sqrt() == pytest.approx(turn, rel=0.25)


def test_the_chain_tells_what_carries_the_skill(world):
    """Whole edits by their own effect, and each part of the update beside another as long."""
    table, verdicts = world.table, {c: r["verdict"] for c, r in world.claims.items()}
    check(table, SCHEMAS["reversion"])
    assert accuracy(table, "maxood") > 0.95
    assert accuracy(table, "end") < 0.6
    carries, other = (
        ("values", "directions") if world.name == "values" else ("directions", "values")
    )
    assert accuracy(table, f"{carries}-rank-1") > 0.9
    assert abs(accuracy(table, f"{other}-rank-1") - accuracy(table, "end")) < 0.1
    by_values = {
        "values-reversion-ood": NO,  # "does not change"
        "values-beat-noise": YES,
        "diagonal-beat-noise": YES,
        "diagonal-beat-rest": YES,
    }
    by_vectors = {
        "directions-reversion-ood": YES,  # "changes"
        "directions-beat-rotation": YES,
        "offdiagonal-beat-noise": YES,
        "offdiagonal-beat-rotation": YES,
        "pinned-beat-rotation": YES,
    }
    said, unsaid = (by_values, by_vectors) if world.name == "values" else (by_vectors, by_values)
    for claim, expected in said.items():
        assert verdicts[claim] in expected, claim
    for claim, expected in unsaid.items():
        assert verdicts[claim] not in expected, claim
    # where vectors carry the skill the straight way back is that same turn: no better, no worse
    assert verdicts["pinned-beat-interpolation"] in NO


GRID = [
    *names_along(
        [],
        {},
        {kind: [c for c, control in CONTROLS.items() if not control.turns or about.turns]
         for kind, about in KINDS.items() if kind != "swap"},
        {"rank": [0.2]},
    ),
    *(f"{name}-as-{control}" for name in (
        "directions-rank-0.2-layers-1-strength-0.5", "offdiagonal",
        "pinned-band-0.2..0.6", "values-tail-0.5+directions-rank-0.5", "threshold")
      for control in ("interpolation", "noise", "rotation", "straight")),
    *(f"ramp-as-{control}" for control in ("straight", "noise", "rotation")),
    *(f"swap-layers-1-as-{control}" for control in ("noise", "rotation")),
]  # fmt: skip


def test_controls_are_matched_in_what_they_declare(world):
    """On trained checkpoints, matrix by matrix where it is the norm, and as the table has it; both
    distances are there for every edit and control, whatever it is matched in."""
    sweep, pair = Sweep(world.pairs[0]), world.pairs[0]
    measured, far = {}, {}
    own = [name.partition("-as-")[0] for name in GRID]
    for variant in sweep.variants(list(dict.fromkeys([*own, *GRID]))):
        weights = dict(variant.weights())
        for name in (variant.name, *variant.also):
            measured[name] = variant.measured
            far[name] = {n: float((w - pair.target[n]).norm()) for n, w in weights.items()}
    for name, values in measured.items():
        assert all(math.isfinite(values[c]) for c in reversions.MEASURED), name
        control = parse(name).control
        if not control:
            continue
        own, matched = name.removesuffix(f"-as-{control}"), CONTROLS[control].matched
        assert {NORM, WHOLE_NORM} & {*matched}
        assert values["from_target"] == pytest.approx(measured[own]["from_target"], rel=0.01), name
        if NORM in matched:
            assert far[name] == pytest.approx(far[own], rel=0.01), name
        if ANGLE in matched:
            turned = measured[own]["turned_degrees"]
            assert values["turned_degrees"] == pytest.approx(turned, rel=0.01, abs=1e-5), name
    turned = {name: values["turned_degrees"] for name, values in measured.items()}
    assert turned["offdiagonal-as-noise"] != pytest.approx(turned["offdiagonal"], rel=0.01)


def test_a_control_does_not_do_what_its_edit_does(world):
    """Turning by the same angles another way gives nothing back, where the edit gives all."""
    table = world.table
    if world.name == "vectors":
        assert accuracy(table, "offdiagonal-rank-1") > accuracy(table, "end") + 0.3
        assert accuracy(table, "offdiagonal-rank-1-as-rotation") < accuracy(table, "end") + 0.05
    else:
        assert accuracy(table, "diagonal-rank-1") > accuracy(table, "end") + 0.3
        assert accuracy(table, "diagonal-rank-1-as-rest") < accuracy(table, "end") + 0.05


def test_the_table_says_what_controls_are_matched_in(world):
    table = world.table.set_index("name")
    assert set(table.loc["offdiagonal-rank-1-as-rotation", "matched"]) == {"norm and angle"}
    assert set(table.loc["offdiagonal-rank-1-as-noise", "matched"]) == {"norm"}
    assert set(table.loc["offdiagonal-rank-1", "matched"]) == {""}


def test_a_reversion_says_what_a_straight_step_of_its_length_does(world):
    for kind in ("values", "directions"):
        for rule in ("id", "ood"):
            row = world.claims[f"{kind}-reversion-{rule}"]
            before, _ = world.data.ends("sft", rule)
            after = world.data.edited("sft", f"{kind}-rank-1", rule)
            change = after["correct"].mean() - before["correct"].mean()
            assert row["effect"] == pytest.approx(change)
            assert ("an equally long straight step towards it" in row["detail"]) == (
                kind == "values"
            )


def test_tests_of_edits_stand_stage_by_stage(world):
    """As claims of the two worlds would have them, were they stages of one study."""
    made = [*reversions.reverting(world.data), *edit_controls.controls(world.data)]
    rows = pd.DataFrame(made).assign(track="m", low=-0.5, high=0.5)
    other = rows.assign(claim=rows["claim"].str.replace("-sft", "-planted_values"), effect=0.25)
    table = edit_tests.by_stage(pd.concat([rows, other]))
    check(table, edit_tests.SCHEMA)
    names = {claim.removesuffix("-ood") for claim in world.claims if not claim.endswith("-id")}
    assert set(table["test"]) == names
    assert set(table["stage"]) == {"sft", "planted_values"}
    page = edit_tests.section(table).splitlines()
    assert len([line for line in page if line.startswith("|")]) == 2 + len(names)
    own = world.claims["directions-beat-rotation"]
    (line,) = [x for x in page if x.startswith("| Putting singular directions back moves it")
               and "turning the same subspaces" in x]  # fmt: skip
    assert f"{own['verdict']} {100 * own['effect']:+.1f} [-50.0, +50.0]" in line
    assert line.endswith("+25.0 [-50.0, +50.0] |")
