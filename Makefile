# Everything a newcomer needs. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup train test lint types check browser bench build clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.ready  ## Make .venv with the pinned versions (does nothing when nothing changed)

# constraints.txt is honoured by pip itself, so the versions are the same everywhere; which build
# of torch is taken (CPU or CUDA) is pip's decision for the machine at hand.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; write: make PYTHON=python3.11 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

train: setup  ## Run the main job on the built-in demo; overrides go into ARGS="sampler=rr seed=2"
	$(BIN)/python -m mtl_bert.train $(ARGS)

test: setup  ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

lint: setup  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## Check types
	$(BIN)/mypy

check: test lint types  ## What CI runs: tests, lint, types

browser: setup  ## Look at a report in a browser; needs Debian's chromium (apt-get install chromium)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser $(ARGS)

bench: setup  ## Measure what surgery and averaging cost (half an hour); options go into ARGS="--sizes minilm"
	$(BIN)/python -m benchmarks.surgery $(ARGS)
	$(BIN)/python -m benchmarks.processes $(ARGS)

build: setup  ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

clean:  ## Remove the environment and everything that can be made again
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
