# `make` alone lists the targets. Every target that needs the environment makes it first.
# PDFGC_ROOT says where everything is written; ./pdfgc-root when it is not set.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo dev test lint types format lock clean

BIN := .venv/bin
# The root is a place of one's own; a bucket can hold it, but Dagster's SQLite files cannot lie there.
export PDFGC_ROOT ?= $(CURDIR)/pdfgc-root
# Exported, and read by the shell as variables: names with spaces and quotes stay whole.
export VIDEOS
export FORCE PYTHON
TEST_WORKERS ?= 2

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv from the lock (at once when it is already so)
	@scripts/make_environment.sh

demo: setup ## Videos to checked training shards: VIDEOS=<folder>, else a corpus made here; FORCE=1 does all anew
	@$(BIN)/pdfgc demo $${VIDEOS:+--videos "$$VIDEOS"} $${FORCE:+--force}

dev: setup ## Dagster's UI on http://localhost:3000
	@exec $(BIN)/pdfgc dev

test: setup ## All tests but those that need a GPU
	@$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

lint: setup ## ruff and the import layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

types: setup ## basedpyright
	@$(BIN)/basedpyright

format: setup ## Put the code into ruff's format, with its safe fixes
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: setup ## Re-make requirements/*.txt from pyproject.toml; UPGRADE=1 takes newer versions
	@scripts/lock.sh

clean: ## Remove .venv and what the tools left; PDFGC_ROOT stays
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -not -path './pdfgc-root/*' -prune -exec rm -rf {} +
