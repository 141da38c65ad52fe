"""Every measurement says what it reads, and what it costs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from healscope import artifacts, config
from healscope.measuring import measurements

MICRO = Path(__file__).parents[2] / "config/micro.yaml"


@pytest.mark.parametrize("name", measurements())
def test_a_measurement_can_be_planned(name):
    data, module = yaml.safe_load(MICRO.read_text()), measurements()[name]
    data["claims"]["systems"] = ["sparsity", "faithfulness"]  # whose measurements are made if asked
    study = config.load(data)
    assert module.SCHEMA.path == artifacts.probe(name.replace("_", "-"))
    known = {"base", *study.sft_checkpoints(), *study.branches, *study.landmark_checkpoints}
    assert set(module.reads(study)) <= known
    assert all(pattern.startswith("results/tasks/") for pattern in module.TABLES.values())
    settings = module.settings(study, "micro")
    assert yaml.safe_load(yaml.safe_dump(settings)) == settings  # plain values; it may have none
    assert module.cost(study).loads > 0


def test_planning_loads_no_torch():
    code = "import sys; from healscope.measuring import measurements; measurements(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
