# make quickstart   the main job on a small model: two adapters, 15 languages, a table and a page
# make test         everything that must hold: format, lint, types, tests, docs, and the quickstart on a few rows
# make faults       kills, damage, full disks, refused paths and hostile input, all of it: hours
# Each sets itself up first (.venv, with the versions of constraints.txt). Needs Python 3.11 or newer and a package registry.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUICKSTART := $(VENV)/.installed-quickstart
DEV := $(VENV)/.installed-dev
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help quickstart test format lint types unit docs smoke planted faults results clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile | head -4

quickstart: $(QUICKSTART)
	$(BIN)/transfix quickstart

test: lint types unit docs smoke

# Puts into shape what `lint` would only complain about.
format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(DEV)
	$(BIN)/mypy

unit: $(DEV)
	$(BIN)/python -m pytest

docs: $(DEV)
	$(BIN)/mkdocs build --strict --quiet --site-dir build/docs

# The whole way of a run, on a few rows: it must end and write its page, its scores mean nothing.
smoke: $(DEV)
	rm -rf build/smoke
	$(BIN)/transfix quickstart --rows 24 --limit 3 --languages de,sw --dir build/smoke

# Some two hundred bugs, planted one at a time in a copy: does the test that should see each see it? A quarter of an hour.
planted: $(DEV)
	$(BIN)/python scripts/planted_bugs.py

# Kills, damage, full disks, refused paths, a million inputs of the parsers: hours. Stopped and started again it goes on;
# what was noted (build/faults) is of the code as it was then. Writes tests/faults/results.json and its table in the docs.
faults: $(DEV)
	$(BIN)/python -m tests.faults

# The tables of docs/results.md, from the answers that are kept in results/.
results: $(DEV)
	$(BIN)/python scripts/kept_results.py tables

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written when an installation is whole, and is older than what it was made from when that changes.
$(QUICKSTART): pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing transfix with the quickstart's model into $(VENV): once, some minutes, about 2 GB ..."
	@$(INSTALL) '.[quickstart]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing transfix with everything its tests need into $(VENV): once, some minutes, about 2 GB ..."
	@$(INSTALL) '.[dev]'
	@touch $@ $(QUICKSTART)

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "transfix needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
