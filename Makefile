# `make train`: everything from a fresh machine to a trained encoder. `make test`, `make check`: the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Options for the training command, e.g. `make train ARGS="--trainer.max_epochs 3"`
ARGS ?=
# Where `make bench` finds CIFAR-10
ROOT ?= data

.DEFAULT_GOAL := help
.PHONY: help install train test test-fast check bench format clean

help:
	@echo "make train      set up $(VENV), train on the handwritten digits, say where the page lies"
	@echo "make test       set up $(VENV), run every test"
	@echo "make test-fast  run the tests that take no more than a few seconds each"
	@echo "make check      style, types and the order of the layers"
	@echo "make bench      measure speed and memory on CIFAR-10 in $(ROOT), see experiments/benchmarks (ROOT=folder)"
	@echo "make format     put the code into the project's style"
	@echo "make clean      remove $(VENV) and the tools' caches; runs and data stay"

# The environment, made once and again whenever pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python {v[0]}.{v[1]} found, 3.10 or newer expected: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	@# torch and torchvision come as a pair: asked for in one command, the versions fit each other
	$(BIN)/python -m pip install --quiet torch torchvision
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

install: $(VENV)/.installed

train: install
	$(BIN)/python -m dim_lightning fit --config experiments/digits/blog.yaml $(ARGS)

test: install
	$(BIN)/python -m pytest -n auto

test-fast: install
	$(BIN)/python -m pytest -n auto -m 'not slow'

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Each beside the others' results; nothing else should run on the machine meanwhile.
bench: install
	cd experiments/benchmarks && for script in 'training_step.py --steps 200' where_time_goes.py start_up.py \
			communication.py; do \
		$(abspath $(BIN))/python $$script --root $(abspath $(ROOT)) --output $${script%%.py*}.json || exit 1; done
	cd experiments/benchmarks && for script in all_pairs.py 'all_pairs.py --step --batches 8192' \
			stream.py augmentation.py 'linear_probe.py --probe --images 9000 --dim 1024 --classes 50 --repeats 3' neighbours.py; do \
		$(abspath $(BIN))/python $$script --output $${script%%.py*}.json || exit 1; done

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
