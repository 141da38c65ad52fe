"""The workflow as a module of somebody else's."""

import re

import yaml
from runner import ROOT

OWN = f"""
configfile: "study.yaml"

module healscope:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config["healscope"]

rule mine:
    output: "mine.txt"
    conda: "mine.yaml"
    shell: "echo mine > {{output}}"

use rule * from healscope as healscope_*

rule everything:
    default_target: True
    input: "results/figures/fig3a.pdf", rules.mine.output

assert str(workflow.get_rule("mine").conda_env).endswith("mine.yaml")
assert workflow.get_rule("healscope_sft").conda_env.endswith("envs/core.yaml")
"""


def test_a_workflow_of_ones_own_has_its_rules_and_figures(server, tmp_path):
    (tmp_path / "Snakefile").write_text(OWN)
    micro = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"healscope": micro}))
    place = ["--snakefile", str(tmp_path / "Snakefile"), "--directory", str(tmp_path)]
    code, said = server.call([*place, "--cores", "1", "-n", "--quiet", "rules"])
    assert code == 0, said
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert jobs["healscope_rl"] == str(len(micro["sft"]["checkpoints"]))
    assert jobs["healscope_fig3a"] == jobs["mine"] == jobs["everything"] == "1"
