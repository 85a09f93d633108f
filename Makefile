# Commands for people and CI: setup, setup-dev, run, test, test-slow, test-oracle, check, docs, site, golden, bench. `make` alone runs the demo.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := pipeline model cluster workflows tests benchmarks
# torch is installed first and on its own, so that a build that is already in .venv (for example CPU-only) is kept.
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

.PHONY: run setup setup-dev test test-slow test-oracle check bench docs site golden

run: $(VENV)/.run  ## set up, then run the whole chain on the embedded corpus; prints the path of the report
	$(BIN)/nezha-pipe run tiny

setup: $(VENV)/.run

setup-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is required; choose one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV): about two minutes, 2 GB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# timm is the reference for LAMB. --no-deps: its other parts need torchvision, LAMB does not.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps timm
	@touch $@

test: $(VENV)/.dev  ## fast tests, two files at a time
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: $(VENV)/.dev  ## slow tests: several processes, killed workers, a second environment
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-oracle: $(VENV)/.dev  ## compare prose and dumps with MediaWiki itself; needs apt-get install mediawiki php-cli php-sqlite3
	$(BIN)/python -m pytest -q -s tests/oracle_wiki.py

check: $(VENV)/.dev  ## style and types
	$(BIN)/ruff format --check $(ROOMS)
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/mypy

docs: $(VENV)/.dev  ## generate docs/cli.md, docs/recipe.md and docs/errors.md
	$(BIN)/python -m workflows.manual cli > docs/cli.md
	$(BIN)/python -m workflows.manual recipe > docs/recipe.md
	$(BIN)/python -m workflows.manual errors > docs/errors.md

site: $(VENV)/.dev  ## these pages as a site: build/site/README.html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/site

golden: $(VENV)/.dev  ## rewrite the golden files, after an intended change
	$(BIN)/python -m tests.golden
	$(BIN)/python -m tests.stage_sources

bench: $(VENV)/.dev  ## all benchmarks, compared with other tools
	$(BIN)/python -m benchmarks all
