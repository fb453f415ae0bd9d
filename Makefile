# `make` alone lists the targets. Every target sets up what it needs; what is done already is skipped.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export SODA_CORE_TELEMETRY_ENABLED := false
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.PHONY: help setup demo live ui build test lint format bench lock wheel clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute and 1.5 GB) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off --no-deps --require-hashes --requirement requirements.lock \
	  || { echo "Installing failed, see above. The package index must be reachable (behind a proxy: PIP_INDEX_URL, HTTPS_PROXY); then run make again."; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "Set up."

demo: setup ## Real Kafka, 300,000 events with known truth, landed, built, checked, summarised
	@$(BIN)/ad-lakehouse demo

ui: setup ## Dagster on the demo lake, with schedules and sensors on
	@$(BIN)/ad-lakehouse ui

live: setup ## Keep producing events to the demo's Kafka, so that `make ui` shows data move
	@$(BIN)/ad-lakehouse live

build: setup ## Build the marts of the lake ($$AD_LAKEHOUSE_LAKE, default: the demo's)
	@$(BIN)/ad-lakehouse build

test: setup ## All tests, with a real Kafka broker and Dagster instance
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup ## ruff, mypy, import-linter, sqlfluff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models

format: setup ## Format Python and SQL
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar dbt_project/models

bench: setup ## The figures: landing, full build, one late event
	@$(BIN)/python -m benchmarks

lock: setup ## Resolve requirements.in anew into requirements.lock (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements.in --output-file requirements.lock

wheel: setup ## Build the wheel into dist/
	@$(BIN)/python -m hatchling build --target wheel

clean: ## Remove the demo's lake and caches of tools, keep .venv
	@rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis dist dbt_project/target dbt_project/logs
