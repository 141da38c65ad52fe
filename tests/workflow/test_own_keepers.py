"""A small chat model through a study with keepers, from its config to the figures."""

import json
import shutil

import pytest
from runner import Workflow
from test_own_data import OwnData, given  # noqa: F401 (a fixture)

from healscope import artifacts, provenance

FIGURES = [f"results/figures/{name}.pdf" for name in ("fig_keepers", "fig_repair")]
TABLES = [f"results/tables/{name}.parquet" for name in ("keepers", "repair", "claims")]


class Kept(OwnData):
    """The example, with the shipped sets and a file as keepers and a few edits."""

    def __init__(self, folder, server=None):
        super().__init__(folder, server)
        self.config["evaluation"] |= {
            "keepers": ["facts", "ifeval_like", "mine.jsonl", "text:notes.txt"],
            "keeper_tokens": 4,
        }  # fmt: skip
        self.config["edits"] = {
            "kinds": ["swap"], "axes": {"rank": [1.0]}, "controls": {}, "controlled": {}
        }  # fmt: skip
        self.config["claims"] = {"primary": ["keeper-facts-falls"]}


def answers(study: Workflow, pattern: str, keeper: str, **place: str):
    named = {"track": "mine", "seed": 0, "task": keeper, **place}
    return provenance.read_table(study.folder / artifacts.path(pattern, **named))


@pytest.mark.long
def test_keepers_are_asked_along_sft_after_branches_and_edits(given, forks, tmp_path):  # noqa: F811
    study = Kept(shutil.copytree(given, tmp_path / "study"), forks)
    rows = [{"prompt": f"How much is {n} plus 1?", "answer": str(n + 1)} for n in range(8)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (study.folder / "mine.jsonl").write_text(lines)
    (study.folder / "notes.txt").write_text("\n\n".join(["The sea is calm. " * 50] * 6))
    study.run(*FIGURES, *TABLES)
    assert study.plan(*FIGURES, *TABLES) == {}
    for keeper, n in {"facts": 265, "ifeval_like": 124, "mine": 8, "notes": 6}.items():
        for checkpoint in ("sft-0", "sft-4", "sft-8", "ppo-from-8"):
            asked = {"protocol": "exhaustive", "checkpoint": checkpoint}
            found = answers(study, artifacts.EVALUATION, keeper, **asked)
            assert (len(found), set(found["rule"])) == (n, {"id"})
        edited = {"stage": "sft", "edit": "swap-rank-1"}
        assert len(answers(study, artifacts.EDIT, keeper, **edited)) == n
    table = study.table("keepers").query("seed == 'all' and at == 'landmark'")
    assert set(table["keeper"]) == {"id", "ood", "facts", "ifeval_like", "mine", "notes"}
    base = table[table["checkpoint"] == "base"]
    assert (base["change"] == 0).all()
    assert (base.loc[base["unit"] == "share", ["lost", "gained"]] == 0).all(axis=None)
    assert (table.loc[table["keeper"] == "notes", "value"] < 0).all()
    claims = study.table("claims").set_index("claim")
    assert claims.loc["keeper-facts-falls", "family"] == "primary"
    assert {f"keeper-{name}-healed-by-rl" for name in ("facts", "notes")} <= set(claims.index)
    repair = study.table("repair").set_index("name")
    assert list(repair.loc["swap-rank-1", "keepers"]) == ["facts", "ifeval_like", "mine", "notes"]
    tables = study.folder / "results/tasks"
    assert not len(provenance.read_table(tables / "facts/sft.parquet"))  # nothing to train on
