# Everything a newcomer needs. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
BENCH  ?= surgery own_loop processes throughput diagnoses startup memory scaling

.DEFAULT_GOAL := help
.PHONY: help setup train test lint types check table2 table3 table4 tables tables-demo frontier evidence study2 browser docs bench gpu build clean

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

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

# Much of the tests is waiting for processes: two at a time, each file's in one of them, and not
# the files with few but long tests last.
test: setup  ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## Check types
	$(BIN)/mypy

check: test lint types  ## What CI runs: tests, lint, types

# A table is its rows times the seeds, as one Hydra multirun. All go into one folder, where a row of
# two tables is run once, and where the same command goes on after a stop. The report is of what there
# is, also if some of it failed.
SEEDS   ?= 1,2,3
JOBS    ?= 1
FOLDER  ?= runs/tables
COURSE   = data=cs224n data.dir=$(or $(DIR),$(error DIR: expected the folder of the course's files, \
	found nothing; write make $@ DIR=FOLDER))
PAPER   ?= model=bert_base $(COURSE)
BESIDE  = $(if $(filter-out 1,$(JOBS)),hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS))
define sweep
@status=0; for rows in $(1); do \
	  $(BIN)/python -m mtl_bert.train -m "+experiment/$$rows=glob(*)" seed=$(SEEDS) $(2) \
	    hydra.sweep.dir=$(3) trainer.keep=best $(BESIDE) $(ARGS) || status=$$?; \
	  case $$status in 75|130) exit $$status;; esac; \
	done; \
	$(BIN)/python -m mtl_bert.report $(3) || status=$$?; exit $$status
endef

table2: setup  ## The paper's Table 2 and its report: make table2 DIR=FOLDER SEEDS=1,2,3 JOBS=1
	$(call sweep,table2,$(PAPER),$(FOLDER))

table3: setup  ## Table 3
	$(call sweep,table3,$(PAPER),$(FOLDER))

table4: setup  ## Table 4
	$(call sweep,table4,$(PAPER),$(FOLDER))

tables: setup  ## All three
	$(call sweep,table2 table3 table4,$(PAPER),$(FOLDER))

# The paper's B, by the share of the data that it is there. One thread a job is as fast as two.
tables-demo: JOBS = 2
tables-demo: setup  ## All three on the built-in demo, three seeds: about 25 minutes on two cores
	$(call sweep,table2 table3 table4,data=demo data.scale=0.08 'B_scale=$${data.scale}' trainer.threads=1,runs/tables-demo)

# Static mixtures do as well as surgery in several studies: what a comparison has to beat. In the folder
# of a sweep of your own (FOLDER=...) its report draws both.
frontier: FOLDER = runs/frontier
frontier: setup  ## The static mixtures to beat: make frontier DIR=FOLDER ARGS="model=local model.path=..."
	$(call sweep,frontier,$(COURSE),$(FOLDER))

# Real text, a small real encoder, a share of the data: what experiments/README.md reports.
evidence: setup  ## The comparison on real text: make evidence DIR=FOLDER ENCODER=FOLDER JOBS=2
	experiments/evidence.sh $(BIN)/python "$(or $(DIR),$(error DIR: expected the folder of the course's \
	files, found nothing; write make $@ DIR=FOLDER ENCODER=FOLDER))" "$(or $(ENCODER),$(error ENCODER: \
	expected the folder of an encoder, found nothing; write make $@ DIR=FOLDER ENCODER=FOLDER))" \
	runs/evidence $(BESIDE) $(ARGS)

study2: setup  ## The second study, as experiments/study2.md says: make study2 DIR=FOLDER ENCODER=FOLDER JOBS=2
	$(BIN)/python experiments/study2.py "$(or $(DIR),$(error DIR: expected the folder of the course's \
	files, found nothing; write make $@ DIR=FOLDER ENCODER=FOLDER))" "$(or $(ENCODER),$(error ENCODER: \
	expected the folder of an encoder, found nothing; write make $@ DIR=FOLDER ENCODER=FOLDER))" \
	runs/study2 --jobs $(JOBS) $(ARGS)

browser: setup  ## Look at a report in a browser; needs Debian's chromium (apt-get install chromium)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser $(ARGS)

docs: setup  ## Build the documentation into site/ (python -m http.server -d site serves it)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

bench: setup  ## Measure speed, start-up, memory and surgery (long); e.g. BENCH=startup ARGS="--rounds 3"
	@set -e; for name in $(BENCH); do $(BIN)/python -m benchmarks.$$name $(ARGS); done

gpu: setup  ## What only a GPU can show, in 10 minutes: make gpu DIR=FOLDER ENCODER=FOLDER
	$(BIN)/python -m benchmarks.gpu --data "$(DIR)" --encoder "$(ENCODER)" $(ARGS)

build: setup  ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

clean:  ## Remove the environment and everything that can be made again
	rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
