# `make run` and `make test` make what they need. Another interpreter: make run PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-full lint format bench report build ci clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="KEY=VALUE ..." goes to run, report and bench, PYTHON=python3.12 chooses the interpreter'

setup: $(STAMP) ## make .venv and install the project into it

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

run: $(STAMP) ## brain phantoms by vendor through the whole cascade, nothing downloaded
	$(BIN)/python -m salip_exp $(ARGS)

report: $(STAMP) ## one HTML page over all runs below outputs/
	$(BIN)/python -m salip_exp task=report $(ARGS)

test: $(STAMP) ## the suite without its slow tests
	$(BIN)/python -m pytest -q

test-full: $(STAMP) ## the whole suite
	$(BIN)/python -m pytest -q -m "slow or not slow"

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## speed and memory beside the public packages, embedded weights; ARGS="--weights vit_b" for others
	$(BIN)/python benchmarks/run.py $(ARGS)

build: $(STAMP) ## wheel and sdist in dist/
	$(BIN)/python -m build

ci: ## what continuous integration runs
	.ci/run

clean: ## remove what tools leave; outputs/ and .venv stay
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src conf tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
