# make demo   installs into .venv and trains the first network     make test   the same for the tests
# make lint   style and types                                      make slow   the longer checks
# make docs   runs all lessons and writes docs/lectures.md with its figures
PYTHON ?= python3
BIN := .venv/bin
DATA ?= $(DELTARULE_DATA)

.PHONY: demo test slow lint docs clean

demo: .venv/installed
	$(BIN)/deltarule train digits --out demo

test: .venv/tested
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: .venv/tested
	$(BIN)/python -m pytest -n 2 -m slow

docs: .venv/tested
	$(BIN)/python -m deltarule.lessons docs

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/python:
	$(PYTHON) -m venv .venv || { echo "python3 needs its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }
	touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	$(BIN)/python -m deltarule.kernels
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info demo runs
