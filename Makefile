# setup | run | test | test-slow | test-oracle | check | bench | docs: the verbs that a person and CI share. A bare `make` runs the demo.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := pipeline model cluster workflows tests benchmarks
# torch comes first and by itself: the build that this machine has (or was given) then satisfies everything after it.
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

.PHONY: run setup setup-dev test test-slow test-oracle check bench docs golden

run: $(VENV)/.run  ## set up, then the whole chain on the embedded corpus: prints the path of the report
	$(BIN)/nezha-pipe run tiny

setup: $(VENV)/.run

setup-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV): about two minutes, 2 GB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# An oracle for LAMB; without torchvision, which it needs for everything else.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps timm
	@touch $@

test: $(VENV)/.dev  ## the fast tests, files of them side by side
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.dev  ## several processes, killed workers, a second environment
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile

test-oracle: $(VENV)/.dev  ## prose and dumps beside MediaWiki itself: apt-get install mediawiki php-cli php-sqlite3
	$(BIN)/python -m pytest -q -s tests/oracle_wiki.py

check: $(VENV)/.dev  ## style and types
	$(BIN)/ruff format --check $(ROOMS)
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/mypy

docs: $(VENV)/.dev  ## rewrite the pages that are written from the program itself
	$(BIN)/python -m workflows.manual cli > docs/cli.md
	$(BIN)/python -m workflows.manual recipe > docs/recipe.md

golden: $(VENV)/.dev  ## rewrite what tests compare with, after a change that was meant
	$(BIN)/python -m tests.golden
	$(BIN)/python -m tests.stage_sources

bench: $(VENV)/.dev  ## every benchmark, against its peers
	$(BIN)/python -m benchmarks all
