"""Every call of Snakemake in the README and in docs/your-study.md can be planned as it stands."""

import re
import shlex

import pytest
from runner import ROOT

PAGES = "\n".join((ROOT / page).read_text() for page in ("README.md", "docs/your-study.md"))
SHOWN = re.findall(r"^snakemake .*$", PAGES, re.M) + re.findall(r"`(snakemake [^`]*)`", PAGES)
COMMANDS = [shlex.split(line, comments=True)[1:] for line in dict.fromkeys(SHOWN)]
# configs of a user's own (their pages have tests), and a plan that `test_plan` looks at
ELSEWHERE = {
    "my.yaml",
    "my-checkpoints.yaml",
    "my-benchmarks.yaml",
    "my-data.yaml",
    "my-study.yaml",
    "config/paper.yaml",
}


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if not ELSEWHERE & set(words)], ids=" ".join
)
def test_a_command_that_is_shown_is_planned(server, tmp_path, words):
    """In an empty folder: every target that is named has its job, and so has the base model."""
    code, output = server.call(["--directory", str(tmp_path), *words, "--dry-run"])
    assert code == 0, output
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)\s*$", output, re.MULTILINE))
    assert int(jobs["base_model"]) >= 1
    assert int(jobs["total"]) > 1
    assert ("all" in jobs) == (not any(word.startswith("results/") for word in words))


def test_commands_are_shown():
    assert {word for words in COMMANDS for word in words} >= {"-n", *ELSEWHERE}
