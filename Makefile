PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## create .venv with everything that the other targets need

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	touch $@

demo: $(INSTALLED)  ## train on data that goes both ways, draw the picture, print where everything is
	$(BIN)/python -m examples.demo --run-dir runs/demo

examples: $(INSTALLED)  ## plug in a network of your own; fit digits, distil and restore them
	$(BIN)/python examples/own_prior.py --run-dir runs/own-prior
	$(BIN)/python -m examples.digits --run-dir runs/digits

benchmark: $(INSTALLED)  ## time our steps beside plain torch, peers and limits (on a quiet machine)
	mkdir -p runs
	$(BIN)/python -m pytest benchmarks/speed --benchmark-json=runs/speed.json
	$(BIN)/python -m benchmarks.speed.report runs/speed.json --chart-file runs/speed.png

test: $(INSTALLED)  ## run the whole test suite
	$(BIN)/python -m pytest --numprocesses auto

lint: $(INSTALLED)  ## ruff and pyright
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --project pyproject.toml

docs: $(INSTALLED)  ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs docs/_build/html

check: lint docs test  ## everything that has to be green before a commit

format: $(INSTALLED)  ## mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the other targets made, runs excepted
	rm -rf $(VENV) build dist docs/_build .pytest_cache .ruff_cache

.PHONY: help install demo examples benchmark test lint docs check format clean
