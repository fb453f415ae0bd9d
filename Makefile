# `make` alone lists the targets. Every target sets up what it needs; what is done already is skipped.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINES_STAMP := $(VENV)/.installed-engines
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off --no-deps
SPARK_PARTS = $(BIN)/python -m ad_lakehouse.dbt_spark.artefacts
# PostgreSQL and nginx, which CI installs; a user is told what is missing
DEBIAN_PARTS = { ls /usr/lib/postgresql/*/bin/postgres && PATH="$$PATH:/usr/sbin" command -v nginx; } > /dev/null 2>&1 \
  || { echo "Installing PostgreSQL and nginx for CI …" && apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y postgresql nginx-light > /dev/null; }
FULL_JAVA = { test "$${CI:-}" = true && test "$$(id -u)" = 0 && command -v apt-get > /dev/null \
  && echo "Installing Java for CI …" && apt-get -qq update \
  && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y openjdk-17-jre-headless > /dev/null; }
S3_STORE = $(BIN)/python tests/s3_server.py
QUERY_ENGINE = $(BIN)/python tests/query_engine.py
NIFI = $(BIN)/python tests/nifi_stateless.py
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export SODA_CORE_TELEMETRY_ENABLED := false
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.PHONY: help setup setup-engines demo live ui build test test-engines soak lint format bench bench-engines bench-anomaly lock wheel clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute and 1.5 GB) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock \
	  || { echo "Installing failed, see above. The package index must be reachable (behind a proxy: PIP_INDEX_URL, HTTPS_PROXY); then run make again."; exit 1; }
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "Set up."

setup-engines: setup $(ENGINES_STAMP) ## Add Apache Spark to .venv (450 MB to download)

$(ENGINES_STAMP): requirements-spark.lock $(STAMP)
	@echo "Adding Apache Spark to $(VENV) (once: 450 MB to download, 600 MB on disk, one to three minutes) …"
	@# PySpark is published as source: without isolation the locked setuptools builds it, and no other is fetched
	@$(PIP_INSTALL) --no-build-isolation --require-hashes --requirement requirements-spark.lock \
	  || { echo "Installing Spark failed, see above. The package index must be reachable (behind a proxy: PIP_INDEX_URL, HTTPS_PROXY) and the temporary folder have 2.5 GB free (another one: TMPDIR); then run make again."; exit 1; }
	@touch $(ENGINES_STAMP)

demo: setup ## Real Kafka, 300,000 events with known truth, landed, built, checked, summarised
	@$(BIN)/ad-lakehouse demo

ui: setup ## Dagster on the demo lake, with schedules and sensors on
	@$(BIN)/ad-lakehouse ui

live: setup ## Keep producing events to the demo's Kafka, so that `make ui` shows data move
	@$(BIN)/ad-lakehouse live

build: setup ## Build the marts of the lake that AD_LAKEHOUSE_LAKE names
	@$(BIN)/ad-lakehouse build

test: setup ## All tests, with a real Kafka broker and Dagster instance
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/engines

test-engines: setup-engines ## Spark and Trino beside DuckDB, an S3-compatible store, Kafka Connect, NiFi, Dagster on Postgres: about 17 minutes; needs Java 17 to 23, Go, PostgreSQL, nginx
	@# 15: only Java is missing. Without a part the tests are skipped, in CI they fail, so CI ends here.
	@$(SPARK_PARTS) \
	  || { test $$? = 15 && $(FULL_JAVA) && $(SPARK_PARTS); } \
	  || test "$${CI:-}" != true
	@$(S3_STORE) || test "$${CI:-}" != true
	@$(NIFI) || test "$${CI:-}" != true
	@test "$${CI:-}" != true || test "$$(id -u)" != 0 || $(DEBIAN_PARTS)
	@$(QUERY_ENGINE) || { test $$? = 15 && $(FULL_JAVA) && $(QUERY_ENGINE); } || test "$${CI:-}" != true
	@echo "Testing the models on Apache Spark, a lake on an S3-compatible store, Kafka Connect, NiFi, Trino, and Dagster on Postgres …"
	@$(BIN)/python -m pytest tests/engines

soak: setup ## The landing service under load and faults at random: MINUTES=30 by default, SEED=… to repeat
	@SOAK_MINUTES="$(MINUTES)" SOAK_SEED="$(SEED)" $(BIN)/python -m pytest -q -s -m soak tests/soak

lint: setup ## ruff, mypy, import-linter, sqlfluff, SQL that both engines run
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models
	@$(BIN)/python -m ad_lakehouse.dbt_spark.portability

format: setup ## Format Python and SQL
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar dbt_project/models

bench: setup ## The figures: landing, the service, a day of small commits, full build, one late event
	@$(BIN)/python -m benchmarks

bench-engines: setup-engines ## The figures of Spark (and of kafka-delta-ingest: KDI_BIN=path) beside ours: landing, builds of 1 and 10 million events
	@$(BIN)/python -m benchmarks landing --peers
	@$(BIN)/python -m benchmarks engines --impressions 422000
	@$(BIN)/python -m benchmarks engines --impressions 4220000

bench-anomaly: setup ## The stream monitor: injected faults, the NAB series (NAB_DATA=folder), records a second
	@$(BIN)/python -m benchmarks.anomaly

lock: setup ## Resolve requirements*.in anew into requirements*.lock (needs uv)
	@$(LOCK) requirements.in --output-file requirements.lock
	@$(LOCK) requirements-spark.in --constraint requirements.lock --output-file requirements-spark.lock
	@# setup has installed already what both locks name
	@awk 'NR == FNR { if (/^[a-z]/) held[$$0]; next } /^[a-z]/ { keep = !($$0 in held) } keep' \
	  requirements.lock requirements-spark.lock > $(VENV)/requirements-spark.lock
	@mv $(VENV)/requirements-spark.lock requirements-spark.lock

wheel: setup ## Build the wheel into dist/
	@$(BIN)/python -m hatchling build --target wheel

clean: ## Remove the demo's lake and caches of tools, keep .venv
	@rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis dist dbt_project/target dbt_project/logs
