# Everything runs in .venv, which is made on first use. Uses uv where it is installed, pip otherwise.
PYTHON ?= python3
SHELL := /bin/bash

BIN := .venv/bin
READY := .venv/.ready
COMPILED := .venv/.compiled
# Absolute, so that notebooks find the recordings from their own folder.
export VASOT_DATA := $(abspath $(or $(VASOT_DATA),data))

.PHONY: help tutorial book check test fuzz kill mutate gpu lab notebooks screenshots install clean

help:  ## what make can do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## ?/\1\t/' | expand -t 14

tutorial: $(READY)  ## runs every notebook and builds the book with the results: outputs/tutorial/book/index.html
	@$(BIN)/vasot tutorial

book: $(READY)  ## builds the book from the stored chapters, half a minute: outputs/book/index.html
	@$(BIN)/vasot book

# As many tests at a time as there are cores, with one thread each: more threads would only wait for each other.
# (Where OMP_NUM_THREADS is set, nproc would give that number.)
WORKERS ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/tests/quick:$$PYTHONPATH $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Some containers set this; then every one of the hundred processes that the tests start compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
STORED := --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg -p tests.notebooks.wrong_answers -p tests.notebooks.one_kernel
# The core, whose lines must all but be covered by its own tests (CORE in tests/conftest.py).
COVERED := $(addprefix --cov=vasot_lib.,transport paths losses) --cov-report=term-missing --cov-fail-under=95
# What takes longest comes first, so that both workers end together.
LONG := notebooks tests/notebooks tests/browser tests/transport tests/runs tests/training tests/benchmarks tests/own_films \
  tests/methods tests/tables tests/book tests/films tests/test_faults.py tests/test_cli.py

check: $(COMPILED)  ## style, types and the fast tests: before every commit, a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow" tests

test: $(COMPILED)  ## the whole suite and the stored outputs of the notebooks, six to twenty minutes on two cores
	$(PYTEST) -rs $(STORED) $(COVERED) $(LONG) tests

fuzz: $(COMPILED)  ## 10,000 random inputs of every kind, a few minutes; counts go to results/reliability.json
	VASOT_FUZZ=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist load tests/fuzz

kill: $(COMPILED)  ## a hundred killed commands, each given again and compared; counts go to results/reliability.json
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.kill

mutate: $(COMPILED)  ## faults put into the solver one by one, an hour or two; SAMPLE=300 draws so many of them
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutate $(addprefix --sample ,$(SAMPLE))

gpu: $(COMPILED)  ## on a machine with a GPU: its tests, then what it takes, beside the goals; JSON goes to outputs/gpu/
	$(BIN)/python -m tests.gpu

lab: $(READY)  ## opens JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

notebooks: $(READY)  ## executes every notebook in place, for whoever changes what they show
	$(BIN)/python -m tests.notebooks.refresh

screenshots: $(READY)  ## every explorer in JupyterLab, into outputs/screenshots/; prints how it flows
	@$(BIN)/python -m tests.browser.screenshots

install: $(READY)

clean:  ## the environment, caches and what can be made again at once; runs of your own stay in outputs/
	rm -rf .venv outputs/tutorial outputs/book outputs/interactive build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d; try make PYTHON=python3.11" % v)'
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@set -o pipefail; if command -v uv >/dev/null; then \
	  echo "Installing the pinned packages with uv"; \
	  UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" uv pip install --compile-bytecode --python $(BIN)/python -r requirements.txt 2>&1 \
	    | { grep --line-buffered -vE '^ [-+~] ' || true; }; \
	else \
	  echo "Installing the pinned packages with pip: a few minutes (uv on the PATH is much faster)"; \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt \
	    | { grep --line-buffered -oE '^(Collecting [^ ]+==[^ ]+|Installing collected packages)' || true; }; \
	fi
	@touch $@

# Numba keeps what it has compiled; without this every worker of a fresh clone would compile the same.
$(COMPILED): $(READY) tests/transport/compiled.py vasot_lib/transport/reference.py $(wildcard vasot_lib/transport/fused/cpu*.py)
	@echo "Compiling the solver for this machine (half a minute, until its sources change)"
	@$(BIN)/python -m tests.transport.compiled > $@ || { rm $@; exit 1; }
