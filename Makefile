# make demo   installs into .venv and trains the first network     make test   the same for the tests
# make lint   style and types                                      make slow   the longer checks
# make docs   runs all lessons and writes docs/lectures.md with its figures
# make bench  measures deltarule beside its peers (in build/bench, an hour) and writes docs/performance.md
PYTHON ?= python3
BIN := .venv/bin
DATA ?= $(DELTARULE_DATA)

.PHONY: demo test slow lint docs bench clean

demo: .venv/installed
	$(BIN)/deltarule train digits --out demo

test: .venv/tested
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: .venv/tested
	$(BIN)/python -m pytest -n 2 -m slow

docs: .venv/tested
	$(BIN)/python -m deltarule.lessons docs

bench: build/bench/installed
	build/bench/bin/python benchmarks $(if $(DATA),--data-dir $(DATA)) || test $$? = 1
	build/bench/bin/python benchmarks --page

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

build/bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/bench
	build/bench/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	build/bench/bin/python -m deltarule.kernels
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info demo runs
