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

demo: $(INSTALLED)  ## train on the embedded data set, draw the picture, print where everything is
	$(BIN)/python examples/demo.py --run-dir runs/demo

test: $(INSTALLED)  ## run the whole test suite
	$(BIN)/python -m pytest --numprocesses auto

lint: $(INSTALLED)  ## ruff and pyright
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --project pyproject.toml

check: lint test  ## everything that has to be green before a commit

format: $(INSTALLED)  ## mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the other targets made, runs excepted
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache

.PHONY: help install demo test lint check format clean
