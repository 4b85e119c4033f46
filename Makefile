# Every target sets up .venv by itself on a machine that has Python 3.11-3.13 and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
DEMO_OUT ?= runs/demo
WORKERS ?= 2
COUNT ?= 3000
SEED ?= 0
# Rooms whose tests train or prepare nothing large.
QUICK := $(filter-out $(patsubst %,tests/%/,preparation collections stages training experiments robustness outside benchmarks drill support __pycache__),$(wildcard tests/*/)) $(wildcard tests/test_*.py)
# make test COVERAGE=1 counts the lines that tests run, those of their child processes too; make coverage adds them up.
ifdef COVERAGE
PYTEST := $(BIN)/coverage run -m pytest
else
PYTEST := $(BIN)/python -m pytest
endif
# Packages are compiled when they are first imported, not all at installation: it saves half a minute.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo gallery test most long quick coverage lint wheel bench fuzz drill parity docs clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[docs]'
	@touch $@

setup: $(STAMP)  ## create .venv with the tested versions

demo: $(STAMP)  ## synthetic cohort -> MAE -> alignment -> table, report, model, and one new ECG read, in runs/demo
	$(BIN)/ecgcmr demo --out $(DEMO_OUT)

gallery: $(STAMP)  ## after demo: what its model learned, and docs/gallery.md of the pictures
	$(BIN)/ecgcmr explain $(DEMO_OUT)/stages/mae+alignment --root $(DEMO_OUT)/cohort --out $(DEMO_OUT)/explained --kind localisation --kind retrieval --kind embedding --overwrite
	$(BIN)/ecgcmr explain $(DEMO_OUT)/model --root $(DEMO_OUT)/cohort --out $(DEMO_OUT)/attributed --kind attribution --target lv_mass --overwrite
	$(BIN)/python docs/build_gallery.py $(DEMO_OUT)

test: $(STAMP)  ## the linters, and the tests but those that make long runs, side by side
	@$(MAKE) --no-print-directory -j2 lint most

most: $(STAMP)  ## the tests but those that make long runs
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long"

long: $(DOCS_STAMP)  ## what CI runs after make test: whole sessions of the pages, kills, fuzzing, launches
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m long

quick: $(STAMP)  ## the fast tests alone: arrays, files and commands, no fits
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not multiprocess and not long" $(QUICK)

coverage: $(STAMP)  ## after make test COVERAGE=1: the lines that it never ran, and an error below 92 %
	$(BIN)/coverage combine
	$(BIN)/coverage report --fail-under=92

lint: $(STAMP)  ## ruff, mypy, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

wheel: $(STAMP)  ## build the wheel and the source archive into dist/, the same bytes each time
	$(BIN)/python -m build --outdir dist

bench: $(STAMP)  ## speed of cleaning, loading and training: table and runs/bench/bench.json
	$(BIN)/ecgcmr bench --out runs/bench

fuzz: $(STAMP)  ## COUNT=3000 damaged files of every kind through the commands, from SEED=0
	$(BIN)/python tests/robustness/fuzz.py --count $(COUNT) --seed $(SEED) --workers $(WORKERS) --good --out runs/fuzz/fuzz.json

drill: $(STAMP)  ## kill, starve and double every command that writes: table and runs/drill/drill.json
	$(BIN)/python tests/drill/drill.py --seed $(SEED) --workers $(WORKERS) --out runs/drill

parity: $(STAMP)  ## compare with the golden vectors of the published implementation
	$(BIN)/python -m pytest tests/parity -rs

docs: $(DOCS_STAMP)  ## build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove what the targets made
	rm -rf $(VENV) runs site dist .mypy_cache .ruff_cache .coverage
