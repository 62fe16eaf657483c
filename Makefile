.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Arguments for `fleetpulse up` and for pytest, e.g. make up ARGS='--config fleetpulse.yml'
ARGS ?=
CODE := fleetpulse exporter scraper api rules alertmanager_bridge fleetpulse_cli grafana tests benchmarks

.PHONY: help up test golden check format bench clean

help: ## show this list
	@echo "FleetPulse: monitoring for a fleet of hosts"
	@echo
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/.server ## set up, then monitor this host until Ctrl-C
	@exec $(BIN)/fleetpulse up $(ARGS)

test: $(VENV)/.dev ## set up, then run all tests with coverage
	@$(BIN)/coverage erase
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

golden: $(VENV)/.dev ## write golden pages and records anew; look at the difference
	@RENEW_GOLDEN=1 $(BIN)/python -m pytest -q tests/test_exporter_golden.py tests/test_promql_scripts.py

check: $(VENV)/.dev ## formatting, lint, types, import contracts
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(VENV)/.dev ## side-by-side runs against peers; each prints ratios
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

clean: ## remove the virtual environment and what tools left behind; ./data stays
	@rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.server: $(VENV)/bin/python setup.cfg
	@echo "installing into $(VENV), once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python setup.cfg
	@echo "installing into $(VENV), once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,dev]'
	@touch $@ $(VENV)/.server
