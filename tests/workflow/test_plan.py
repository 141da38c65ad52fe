"""`healscope plan` prints what a dry run would start, and what that costs."""

import functools
import re
import tempfile

import pytest
from runner import ROOT, Workflow
from targets import first

from healscope import planning
from healscope.planning.__main__ import PAGE, STUDIES, written


def counted(text: str) -> dict[str, int]:
    """stage -> jobs in the table, and `total`."""
    rows = re.findall(
        r"^(base|sft|rl|evaluation|edits|spectra|probes)\s+\S+\s+([\d,]+) ", text, re.M
    )
    found: dict[str, int] = {}
    for stage, jobs in rows:
        found[stage] = found.get(stage, 0) + int(jobs.replace(",", ""))
    found["total"] = int(re.search(r"^total\s+([\d,]+) jobs", text, re.M)[1].replace(",", ""))
    return found


def dry_run(server, folder, *configs: str) -> dict[str, int]:
    asked = ["--dry-run", "--directory", str(folder), "--configfile", *configs]
    code, output = server.call(asked)
    assert code == 0, output
    table = output.split("Job stats:")[1].split("\ntotal")[0]
    return {rule: int(n) for rule, n in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.M)}


@functools.cache  # one dry run for all that look at it
def planned(config: str) -> str:
    with tempfile.TemporaryDirectory() as empty:
        return planning.plan(config.split(), directory=empty)


@pytest.fixture
def in_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.long
def test_the_plan_of_the_paper_is_that_of_the_dry_run(server, tmp_path, in_checkout):
    rules = dry_run(server, tmp_path, "config/paper.yaml")
    text = planned("config/paper.yaml")
    assert max(map(len, text.splitlines())) <= 100
    jobs = counted(text)
    assert jobs["total"] == sum(rules.values()) - 1  # less the target
    assert jobs["total"] <= 2000
    assert jobs["base"] == rules["base_model"] == 6
    assert jobs["rl"] == rules["rl"] == 6 * 36
    for stage, start in {
        "evaluation": "evaluate",
        "edits": "edit_",
        "spectra": ("factors", "compare"),
        "probes": "measure_",
    }.items():
        assert jobs[stage] == sum(n for rule, n in rules.items() if rule.startswith(start)), stage


@pytest.mark.parametrize("config", first(["config/one-gpu.yaml"], STUDIES))
def test_the_page_has_the_plan_at_hand(in_checkout, config):
    page = (ROOT / PAGE).read_text()
    assert written(page, config, planned(config)) == page, "run python -m healscope.planning"


def test_the_published_preset_can_be_planned(server, tmp_path):
    rules = dry_run(server, tmp_path, "config/paper.yaml", "config/paper-published.yaml")
    assert rules["rl"] == 2 * 19


def test_what_stands_is_not_planned_again(hollow_micro, tmp_path, in_checkout):
    micro = str(hollow_micro.folder / "study.yaml")
    assert "total  0 jobs to run, 0.0 GPU-hours" in planning.plan(
        [micro], directory=str(hollow_micro.folder)
    )
    fresh = Workflow(tmp_path / "fresh")
    fresh.command()
    text = planning.plan([micro], ["results/figures/fig2a.pdf"], str(fresh.folder))
    assert {k: n for k, n in counted(text).items() if n} == {"base": 1, "sft": 1, "total": 5}


def test_a_config_that_snakemake_refuses_says_why(tmp_path, in_checkout, capsys):
    from healscope.cli import main

    assert main(["plan", "no-such-rule", "--directory", str(tmp_path)]) == 1
    assert "the dry run failed" in capsys.readouterr().err
