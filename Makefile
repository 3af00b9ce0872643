# Two commands do everything: `make` and `make test`. Both create what they need.
PYTHON ?= python3
VENV ?= .venv
RECORDED = ../shared/data/kernel
ARM64 ?= $(firstword $(wildcard $(RECORDED)/arm64-*.states) specs/tables/arm64-6.12.table)
X86 ?= $(firstword $(wildcard $(RECORDED)/x86_64-6.12*.states) specs/tables/x86_64-6.12.table)
BIN = $(VENV)/bin

.DEFAULT_GOAL := main
.PHONY: main test test-all bench lint clean

# All claims, for every number of CPUs: as posted, as merged, and with our corrections.
# Status 1 says that something is violated, which is what the posted series is about;
# 3 that a limit was reached. Bad input would be 2.
main: $(VENV)/ready  ## parallel shutdown and bringup on the order of real kernels
	@$(BIN)/cpuhp check shutdown-three-phase --order $(ARM64) || test $$? -ne 2
	@$(BIN)/cpuhp check bringup-parallel --order $(X86) || test $$? -ne 2
	@$(BIN)/cpuhp check shutdown-three-phase-fixed --order $(ARM64) || test $$? -ne 2

test: $(VENV)/ready  ## what a change must pass
	$(BIN)/ruff check cpuhp
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(VENV)/ready  ## with the slow tests: every bug, every scenario, peers
	$(BIN)/python -m pytest -n auto

bench: $(VENV)/ready  ## every benchmark, and docs/benchmarks.md; goes on where it stopped
	$(BIN)/python benchmarks/all.py $(BENCH)

lint: $(VENV)/ready
	$(BIN)/ruff format --check cpuhp
	$(BIN)/ruff check cpuhp
	$(BIN)/mypy

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
