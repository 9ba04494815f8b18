# `make` alone lists the targets. Targets that need the environment create it first.
# PDFGC_ROOT is where everything is written; ./pdfgc-root if unset.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo dev test bench chaos fuzz lint types format lock clean

BIN := .venv/bin
# The root can be a bucket; Dagster's SQLite files then need a local DAGSTER_HOME.
export PDFGC_ROOT ?= $(CURDIR)/pdfgc-root
# Exported and read by the shell as variables, so that names with spaces and quotes stay intact.
export VIDEOS
export FORCE PYTHON
TEST_WORKERS ?= 2

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Create .venv from the lock (no-op when up to date)
	@scripts/make_environment.sh

demo: setup ## Videos to shards, trained stages and report: VIDEOS=<folder>, else a rendered corpus; FORCE=1 rebuilds all
	@$(BIN)/pdfgc demo $${VIDEOS:+--videos "$$VIDEOS"} $${FORCE:+--force}

dev: setup ## Dagster's UI on http://localhost:3000
	@exec $(BIN)/pdfgc dev

# Tests start over a hundred Python processes: with bytecode kept, each imports in half the CPU time.
# The files stay in the order of tests/conftest.py, slow ones first.
test: setup ## Run every test that needs no GPU
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

bench: setup ## Every speed ratio in one table, about 10 minutes: VIDEOS=<folder>, else rendered ones
	@$(BIN)/python -m benchmarks.suite $${VIDEOS:+--videos "$$VIDEOS"}

chaos: setup ## Kill, fill and disturb the whole graph in small; CHAOS="--kills 200 --seed 7"
	@$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: setup ## Read 2,000 changed files of every kind: INPUTS=<number> SEED=<number>
	@$(BIN)/python -m tests.fuzz.run --inputs $${INPUTS:-2000} --seed $${SEED:-0}

lint: setup ## Run ruff and check the import layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

types: setup ## Run basedpyright
	@$(BIN)/basedpyright

format: setup ## Format the code and apply ruff's safe fixes
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: setup ## Update requirements/*.txt from pyproject.toml; UPGRADE=1 for newer versions
	@scripts/lock.sh

clean: ## Remove .venv and tool caches; PDFGC_ROOT is kept
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -not -path './pdfgc-root/*' -prune -exec rm -rf {} +
