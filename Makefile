# `make run` and `make test` make what they need. Another interpreter: make run PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-full coverage faults fuzz soak inject lint format docs reproduce bench report build ci clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="KEY=VALUE ..." goes to run, report, coverage and bench, PYTHON=python3.12 chooses the interpreter'

setup: $(STAMP) ## make .venv and install the project into it

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	touch $@

run: $(STAMP) ## brain phantoms by vendor through the whole cascade, nothing downloaded
	$(BIN)/python -m salip_exp $(ARGS)

report: $(STAMP) ## one HTML page over all runs below outputs/
	$(BIN)/python -m salip_exp task=report $(ARGS)

test: $(STAMP) ## the suite without what takes long, in two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

test-full: $(STAMP) ## the whole suite
	$(BIN)/python -m pytest -q -m ""

coverage: $(STAMP) ## the suite as `make test` runs it, and the lines that it does not reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

faults: $(STAMP) ## the fault matrix, row by row; ARGS=--full runs the slow tests too
	$(BIN)/python tests/faults/matrix.py $(ARGS)

fuzz: $(STAMP) ## 20,000 damaged files through every reader; ARGS="INPUTS SEED" for others
	nice -n 15 $(BIN)/python tests/faults/fuzzing.py $(ARGS)

soak: $(STAMP) ## kill runs, studies, trainings and experiments at random moments and compare their results
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/soak.py $(ARGS)

inject: $(STAMP) ## a kill and errors at single writes, renames, fsyncs and opens; ARGS="run --every 7" for fewer
	$(BIN)/python tests/faults/injecting.py $(ARGS)

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## the guides as a site in build/docs; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo build/docs/index.html

reproduce: $(STAMP) ## every table and figure, then the ledger in experiments/
	$(BIN)/python -m salip_exp +experiment=everything hydra.run.dir=outputs/experiments/everything $(ARGS)
	$(BIN)/python -m salip_exp.ledger outputs/experiments/everything experiments

bench: $(STAMP) ## speed and memory beside the public packages, embedded weights; ARGS="--weights vit_b" for others
	$(BIN)/python benchmarks/run.py $(ARGS)

build: $(STAMP) ## wheel and sdist in dist/
	$(BIN)/python -m build

ci: ## what continuous integration runs
	.ci/run

clean: ## remove what tools leave; outputs/ and .venv stay
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find src conf tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
