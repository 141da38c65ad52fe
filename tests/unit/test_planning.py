"""The cost model knows how large things are; what it says of time is an estimate."""

import copy

import pytest
import torch
import yaml

from healscope import artifacts, config
from healscope.errors import HealscopeError
from healscope.planning import table
from healscope.planning.asked import Asked, answers_of
from healscope.planning.disk import disk, peak, staying
from healscope.planning.jobs import OTHER, Costs, job_of
from healscope.planning.sizes import KNOWN, size_of
from healscope.spectra.matrices import matrices
from healscope.tasks import build
from healscope.training.base import scratch_model, task_tokenizer

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]


def job(rule, output="x", **wildcards):
    """A job of track `micro`, but for tables."""
    track = {} if "table" in wildcards else {"track": "micro", "seed": "0"}
    return job_of({"rule": rule, "wildcards": {**track, **wildcards}, "output": [output]})


def test_a_model_from_scratch_is_as_large_as_it_is(study, task):
    model = study.models["micro"]
    real = scratch_model(model.scratch.architecture, task_tokenizer(task), 0)
    size = size_of("micro", model, task)
    assert size.parameters == pytest.approx(real.num_parameters(), rel=0.01)  # norms aside
    shapes = {name: tuple(p.shape) for name, p in real.named_parameters()}
    listed = [shapes[m.name] for m in matrices(shapes, ROLES)]
    assert sorted(size.matrices(ROLES)) == sorted(listed)


def test_llama_vision_is_as_large_as_transformers_makes_it():
    from transformers import MllamaForCausalLM
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig

    with torch.device("meta"):
        real = MllamaForCausalLM(MllamaTextConfig())  # its defaults are the model of 11 billion
    crossing = [f".layers.{i}." for i in real.config.cross_attention_layers]
    kept = {n: p for n, p in real.named_parameters() if not any(c in n for c in crossing)}
    size = KNOWN["llama-3.2-11b-vision"]
    assert size.parameters == pytest.approx(sum(p.numel() for p in kept.values()), rel=0.001)
    shapes = {name: tuple(p.shape) for name, p in kept.items()}
    listed = [shapes[m.name] for m in matrices(shapes, ROLES)]
    assert sorted(size.matrices(ROLES)) == sorted(listed)


def test_an_unknown_model_says_what_to_give(task):
    model = config.Model(source="some/model-9b")
    with pytest.raises(HealscopeError, match="models.mine: .*'some/model-9b'.*give its folder"):
        size_of("mine", model, task)


def test_problems_are_counted_as_they_are_listed(task, tables):
    problems, faced = tables[0], tables[0]["n_faces"] > 0
    held_out = problems["split"] == "held_out"
    assert task.count() == (len(problems), int((held_out & faced).sum()))


def test_answers_are_counted_as_protocols_ask_for_them():
    every = config.Protocol(samples=8, attempts=2, feedback=["none", "full"])
    assert answers_of(every, (100, 40), parts=4) == 100 + 10 * (8 + 2)
    drawn = config.Protocol(problems="drawn", hands=30, attempts=5, feedback=["full"])
    assert answers_of(drawn, (100, 40), parts=4) == 60 + 60 * 4
    # an episode is drawn, and asked again, with all its steps
    assert answers_of(every, (100, 40), parts=4, episodes=True) == 100 + 40 * (8 + 2)
    assert answers_of(drawn, (100, 40), parts=4, episodes=True) == 4 * (60 + 60 * 4)
    near = config.Protocol(problems="neighbours", per_kind=10)
    lists = {"parts": 4, "neighbour_lists": 25}  # kinds and distances, at most
    assert answers_of(near, (100, 40), **lists) == 10 * 25


@pytest.fixture
def size(study, task):
    return size_of("micro", study.models["micro"], task)


def asked(study, task):
    return Asked(study, "micro", {"gp3": task}, {"gp3": (100, 40)})


def test_more_work_costs_more(study, task, size):
    costs = Costs(asked(study, task), size)
    one = costs.seconds(job("rl", branch="ppo-from-8"))
    talk = costs.seconds(job("rl", branch="talk-from-8"))
    average = costs.seconds(job("rl", branch="average-from-8"))
    assert average < one < talk  # nothing trained; one attempt; up to three


def test_a_text_costs_what_its_passages_have_to_be_read(study, task, size, tmp_path):
    data = copy.deepcopy(study.model_dump(mode="json"))
    data["models"] = {"micro": {"source": "org/name"}}
    found = []
    for passages in (2, 4, 6):
        (file := tmp_path / "notes.txt").write_text("\n\n".join(["word " * 199] * passages))
        data["evaluation"]["keepers"] = [f"text:{file}"]
        reading = config.load(data)
        text = build("notes", reading.tasks["notes"])
        assert text.count() == (passages, passages)
        tasks, problems = {"gp3": task, "notes": text}, {"gp3": (9, 4), "notes": text.count()}
        every = Asked(reading, "micro", tasks, problems)
        found.append(Costs(every, size).seconds(job("edit_keepers_sft_1")))
    assert found[1] > found[0]
    assert found[2] - found[1] == pytest.approx(found[1] - found[0])


def test_landmarks_alone_take_less_disk(study, task, size):
    lean = study.model_copy(update={"checkpoints": config.Checkpoints(keep="landmarks")})
    whole, least = (disk(asked(s, task), size) for s in (study, lean))
    assert staying(study) == {"sft-8", "ppo-from-8"}
    assert whole.kept["sft"] == 4 * size.weight_bytes
    assert least.kept["sft"] == 2 * size.weight_bytes  # End, and MaxOOD
    assert (whole.kept["rl"], least.kept["rl"]) == (15 * size.weight_bytes, size.weight_bytes)
    assert least.full - sum(least.kept.values()) == 2 * size.weight_bytes
    assert peak([whole], 2) > peak([least], 2) > peak([least], 1)


def test_jobs_have_stages(study):
    found = [job("rl", branch="ppo-from-8"), job("table", table="curves")]
    found += [job("take", checkpoint="sft-400"), job("factors_sft"), job("edit_rl_1")]
    assert [one.stage for one in found] == ["rl", OTHER, "base", "spectra", "edits"]
    file = artifacts.path(
        artifacts.EVALUATION, protocol="paper", track="micro", seed=0, checkpoint="x-1", task="gp3"
    )
    assert job("evaluate_sft_paper_1", file).protocol == "paper"
    text = table(study, found[:2], at_once=1)
    assert "total  2 jobs to run, 0.0 GPU-hours" in text


def test_a_schedule_on_gpus_counts_them(study):
    data = copy.deepcopy(study.model_dump(mode="json"))
    data["models"]["micro"]["needs"] = {"sft": {"gpus": 4, "threads": 8}}
    with_gpus = config.load(yaml.safe_load(yaml.safe_dump(data)))
    text = table(with_gpus, [job("sft", arm="sft")], at_once=1)
    row = next(line.split() for line in text.splitlines() if line.startswith("sft"))
    assert row[2:4] == ["1", "4"]
    assert "on up to 4 GPUs a job" in text
