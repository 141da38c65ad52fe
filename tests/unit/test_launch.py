"""What a launch cannot do is said before the first job; what it does is not a reason to retrain."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from healscope import config
from healscope.errors import HealscopeError

ROOT = Path(__file__).parents[2]
DEEPSPEED = ROOT / "config/deepspeed"


@pytest.fixture
def study_with():
    plain = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    plain["rl"]["branches"] = {"ppo": [8]}

    def load(launch, **sections):
        data = copy.deepcopy(plain)
        data["models"]["micro"]["launch"] = launch
        for name, values in sections.items():
            data[name] |= values
        return config.load(data)

    return load


@pytest.mark.parametrize(
    ("launch", "sections", "said"),
    [
        ({"processes": 2}, {}, "processes: 2 need deepspeed"),
        ({"processes": 3, "deepspeed": "zero2"}, {}, "batch_size 16 is no multiple of .* 3"),
        (
            {"processes": 2, "deepspeed": "zero2", "micro_batch": 3},
            {},
            "the 8 rows .*micro_batch 3",
        ),
        ({"processes": 2, "deepspeed": "zero2"}, {"sft": {"examples": 39}}, "leave 7 rows"),
        ({"processes": 2, "deepspeed": "zero2"}, {"sft": {"arms": ["protected"]}}, "projects"),
        ({"processes": 2, "deepspeed": "zero3"}, {"sft": {"arms": ["kl"]}}, "use zero2"),
        (
            {"processes": 2, "deepspeed": "zero2"},
            {"rl": {"branches": {"ppo": [8], "dpo": [8]}}},
            "'dpo' trains in one process only",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_by_name(launch, sections, said, study_with):
    with pytest.raises(HealscopeError, match=said):
        study_with(launch, **sections)


def test_what_can_be_shared_is_not(study_with):
    study_with({"processes": 2, "deepspeed": "zero2", "micro_batch": 4}, sft={"arms": ["kl"]})
    study_with({"processes": 4, "deepspeed": "zero3"}, sft={"arms": ["dft", "lora"]})
    study_with({"micro_batch": 4, "precision": "bfloat16"})


@pytest.mark.parametrize("name", ["zero2", "zero3", "zero2_offload", "zero3_offload"])
def test_the_files_of_deepspeed_leave_the_studys_decisions_alone(name):
    content = config.read_deepspeed(name, DEEPSPEED)
    assert content["zero_optimization"]["stage"] == int(name[4])
    assert ("offload_optimizer" in content["zero_optimization"]) == name.endswith("offload")


def test_a_file_with_a_scheduler_is_refused(tmp_path):
    file = tmp_path / "published.json"
    file.write_text(json.dumps({"scheduler": {"type": "WarmupLR"}}))
    with pytest.raises(HealscopeError, match="sets 'scheduler', which the study's own config"):
        config.read_deepspeed(str(file), DEEPSPEED)
    with pytest.raises(HealscopeError, match="there are zero2, zero2_offload, zero3"):
        config.read_deepspeed("zero4", DEEPSPEED)
