# Everything a newcomer types. `make figures` sets up and runs the tiny world.
PYTHON ?= python3
VENV := .venv
CORES ?= $(shell nproc)
READY := $(VENV)/.ready
VLLM := .venv-vllm
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup figures vllm lm-eval gym test test-long test-all test-slurm test-train test-vllm test-lm-eval test-gym locks lint report plan schema clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

setup: $(READY) ## a virtual environment in .venv with the exact versions of envs/core.txt

$(READY): pyproject.toml envs/core.txt envs/install.sh envs/check.py
	PYTHON=$(PYTHON) sh envs/install.sh core $(VENV)
	@touch $@

vllm: $(VLLM)/.ready ## an environment of its own in .venv-vllm for engine vllm (docs/engines.md)

$(VLLM)/.ready: envs/vllm.txt envs/install.sh
	PYTHON=$(PYTHON) sh envs/install.sh vllm $(VLLM)
	@touch $@

lm-eval: $(VENV)/.lm-eval ## lm-evaluation-harness into .venv: its benchmarks as tasks (docs/benchmarks-as-tasks.md)

$(VENV)/.lm-eval: $(READY) envs/lm-eval.txt
	pip install --quiet --disable-pip-version-check -c envs/core.txt -r envs/lm-eval.txt
	@touch $@

gym: $(VENV)/.gym ## reasoning-gym into .venv: its data sets as tasks (docs/reasoning-gym.md)

$(VENV)/.gym: $(READY) envs/gym.txt
	pip install --quiet --disable-pip-version-check -c envs/core.txt -r envs/gym.txt
	@touch $@

figures: setup ## run the study of config/config.yaml: all figures and claims
	@python workflow/unlock.py
	snakemake --cores $(CORES)

plan: setup ## what is left to do, and what it costs; `snakemake -n` lists the jobs
	healscope plan

report: figures ## one self-contained HTML file with every figure and the claims
	snakemake --cores 1 --report results/report.html
	@echo "healscope: the report is results/report.html"

PYTEST := python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test: setup ## the tests, in about ten minutes on two cores
	$(PYTEST) -m "not long"

test-long: setup ## whole studies, kills in every stage, simulations: what takes longer
	$(PYTEST) -m long

test-all: test test-long ## every test that needs no service: those of the next targets do

locks: setup ## is .venv exactly what envs/core.txt says, and train.txt, lm-eval.txt and gym.txt where these are installed?
	python -m pip check
	python envs/check.py envs/core.txt $$(pip show --quiet deepspeed 2>/dev/null && echo envs/train.txt) \
		$$(pip show --quiet lm_eval 2>/dev/null && echo envs/lm-eval.txt) \
		$$(pip show --quiet reasoning_gym 2>/dev/null && echo envs/gym.txt)

test-slurm: setup ## start a Slurm of one machine, and run a study through it with faults
	python tests/slurm/run.py

test-train: setup ## SFT and RL by two processes with DeepSpeed, which goes into .venv too
	pip install --quiet --disable-pip-version-check -c envs/core.txt -r envs/train.txt
	python -m pytest tests/distributed

test-vllm: setup vllm ## the tests of engine vllm, which need its environment
	python -m pytest tests/engine_vllm

test-lm-eval: setup lm-eval ## the tests of benchmarks as tasks, which need lm-evaluation-harness
	python -m pytest tests/lm_eval

test-gym: setup gym ## the tests of data sets of reasoning-gym as tasks
	python -m pytest tests/gym

lint: setup ## style of Python and Snakemake files
	ruff check .
	ruff check --preview --select PLW1514 envs src workflow # files are UTF-8 whatever the locale
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

schema: setup ## regenerate the JSON schema of configs, docs/tables.md, and comments of config/config.yaml
	python -m healscope.config.annotated config/config.yaml
	python -m healscope.config > workflow/schemas/study.schema.json
	python -m healscope.schemas > docs/tables.md

clean: ## forget all results (not the environment)
	rm -rf results
