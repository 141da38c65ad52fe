# Everything a newcomer types. `make figures` sets up and runs the tiny world.
PYTHON ?= python3
VENV := .venv
CORES ?= $(shell nproc)
READY := $(VENV)/.ready
VLLM := .venv-vllm
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup figures vllm test test-vllm lint report plan schema clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

setup: $(READY) ## a virtual environment in .venv with the exact versions of envs/core.txt

$(READY): pyproject.toml envs/core.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "healscope needs Python 3.11 or newer (make PYTHON=/path/to/python3.11 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --disable-pip-version-check -c envs/core.txt torch
	pip install --quiet --disable-pip-version-check -c envs/core.txt -e '.[dev]'
	@touch $@

vllm: $(VLLM)/.ready ## an environment of its own in .venv-vllm for engine vllm (docs/engines.md)

$(VLLM)/.ready: envs/vllm.txt
	$(PYTHON) -m venv $(VLLM)
	@if nvidia-smi >/dev/null 2>&1; then \
	  $(VLLM)/bin/pip install --quiet --disable-pip-version-check vllm==0.32.0 transformers==5.19.0; else \
	  $(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps -r envs/vllm.txt; fi
	@touch $@

figures: setup ## run the study of config/config.yaml: all figures and claims
	@python workflow/unlock.py
	snakemake --cores $(CORES)

plan: setup ## what would run, and why
	snakemake --dry-run

report: figures ## one self-contained HTML file with every figure and the claims
	snakemake --cores 1 --report results/report.html
	@echo "healscope: the report is results/report.html"

test: setup ## every test
	python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test-vllm: setup vllm ## the tests of engine vllm, which need its environment
	python -m pytest tests/engine_vllm

lint: setup ## style of Python and Snakemake files
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

schema: setup ## regenerate the JSON schema of configs and docs/tables.md
	python -m healscope.config > workflow/schemas/study.schema.json
	python -m healscope.schemas > docs/tables.md

clean: ## forget all results (not the environment)
	rm -rf results
