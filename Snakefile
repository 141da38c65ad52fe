"""healscope: what SFT forgets, what RL heals, and where in the weights it happens.

A table of contents. Each stage is one file in workflow/rules/; paths are spelled in
src/healscope/artifacts.py only; the study is described by one config (config/config.yaml).
"""

from snakemake.utils import min_version

min_version("9.27")

if not workflow.overwrite_configfiles:  # a study of one's own replaces the default as a whole

    configfile: workflow.source_path("config/config.yaml")


not_ours = {rule.name for rule in workflow.rules}  # where this workflow is a module of another


container: "envs/core.sif"  # only with --sdm apptainer; else jobs run where Snakemake runs


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/tasks.smk"


if study.own_checkpoints:

    include: "workflow/rules/take.smk"

else:

    include: "workflow/rules/base.smk"
    include: "workflow/rules/sft.smk"
    include: "workflow/rules/rl.smk"


include: "workflow/rules/evaluation.smk"
include: "workflow/rules/spectra.smk"
include: "workflow/rules/edits.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/findings.smk"
include: "workflow/rules/figures.smk"


# only with --sdm conda; one environment for all rules, as the container is
for name in {rule.name for rule in workflow.rules} - not_ours if ENVIRONMENT.is_file() else []:
    workflow.get_rule(name).conda_env = str(ENVIRONMENT)


localrules:
    all,


rule all:
    default_target: True
    input:
        expand(artifacts.FIGURE, figure=SHOWN, format=["pdf", "png"]),
        expand(artifacts.TABLE, table=ANSWERS),
        PAGES,
        FILES.each(artifacts.DROPPED, checkpoint=FILES.dropped),


onstart:
    slurm.begin(".")
    unfinished.keep_finished()


onsuccess:
    if pages := [page for page in PAGES if os.path.exists(page)]:
        print(*(open(page, encoding="utf-8").read() for page in pages), sep="\n")
        print("healscope: what stands above is in", " and ".join(pages), end="; ")
    print("figures are in results/figures/")


onerror:
    print(failures.summary(), unfinished.keep_finished(), sep="\n")
    print("healscope: stopped; why a job failed is above and in results/logs/. Rerun to go on.")
