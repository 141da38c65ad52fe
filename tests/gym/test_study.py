"""A pair of reasoning-gym, from a chat model to figure 3a, by the commands of its page."""

import shlex
import subprocess
import sys

import pytest
import yaml
from chat_model import main as make_chat_model
from runner import ROOT

from healscope import provenance

SMALL = {
    "models": {"chat": {"source": "chat", "check_random": False}},
    "seeds": [0],
    "tasks": {"more_terms": {"generated": 40}},
    "sft": {
        "steps": 8, "checkpoints": [0, 4, 8], "deals": 20, "examples": 40, "batch_size": 8,
        "log_every": 4, "state_every": 4, "log_problems": 4,
    },
    "rl": {"branches": {"grpo": [8]}, "defaults": {"iterations": 2, "responses": 8}},
    "evaluation": {"max_new_tokens": 16, "protocols": {"near": {"per_kind": 4}}},
    "statistics": {"resamples": 100},
}  # fmt: skip
"""What makes the shipped study one of minutes."""


def command() -> list[str]:
    """The command of the page that makes figure 3a."""
    page = (ROOT / "docs/reasoning-gym.md").read_text()
    (line,) = (s for s in page.splitlines() if s.startswith("snakemake ") and "fig3a" in s)
    return shlex.split(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the finished study."""
    place = tmp_path_factory.mktemp("study")
    make_chat_model(str(place / "chat"))
    (place / "my-study.yaml").write_text((ROOT / "config/reasoning-gym.yaml").read_text())
    (place / "small.yaml").write_text(yaml.safe_dump(SMALL))
    output = run(place)
    assert output.returncode == 0, output.stdout + output.stderr
    return place


def run(place, *more: str) -> subprocess.CompletedProcess:
    program, *typed = command()
    assert (program, typed[0]) == ("snakemake", "--configfile")
    at = typed.index("--cores")
    named = [str(ROOT / t) if t.startswith("config/") else str(place / t) for t in typed[1:at]]
    arguments = ["--snakefile", str(ROOT / "workflow/Snakefile"), "--directory", str(place), *more]
    figures = [*typed[at:], "results/figures/fig_neighbours.pdf", "results/figures/fig_groups.pdf"]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--configfile", *named,
         str(place / "small.yaml"), *figures],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_the_figures_are_there_and_nothing_is_left_to_do(folder):
    for name in ("fig3a", "fig_neighbours", "fig_groups"):
        assert (folder / f"results/figures/{name}.pdf").stat().st_size > 5000
    again = run(folder, "-n")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.long
def test_answers_have_groups_and_scores_and_name_the_version(folder):
    file = folder / "results/evals/exhaustive/chat/seed-0/sft-8/more_terms.parquet"
    rows = provenance.read_table(file)
    assert set(rows["group"]) == {"id", "more_terms", "longer_numbers"}
    assert rows["score"].between(0, 1).all()
    assert (rows["correct"] == (rows["score"] == 1)).all()
    assert "reasoning-gym 0.1.25" in str(provenance.read_provenance(file))


@pytest.mark.long
def test_accuracy_by_distance_is_in_the_table(folder):
    table = provenance.read_table(folder / "results/tables/neighbours.parquet")
    kinds = {"training rule", "more_terms", "longer_numbers", "num_terms", "num_digits"}
    assert set(table["neighbour"]) == kinds
    terms = table[(table["neighbour"] == "num_terms") & (table["since"] == "")]
    assert set(terms["distance"]) == {1, 2, 3, 4, 5}
