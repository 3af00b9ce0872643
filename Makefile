# Two commands do everything: `make` and `make test`. Both create what they need.
PYTHON ?= python3
VENV ?= .venv
ORDER ?= $(firstword $(wildcard ../shared/data/kernel/arm64-*.states) specs/tables/arm64-6.12.table)
BIN = $(VENV)/bin

.DEFAULT_GOAL := main
.PHONY: main test lint clean

main: $(VENV)/ready  ## check the parallel shutdown and bringup on a real kernel's order
	@$(BIN)/cpuhp check shutdown-three-phase shutdown-three-phase-fixed bringup-parallel --order $(ORDER) || test $$? -eq 1

test: $(VENV)/ready  ## everything that CI runs
	$(BIN)/ruff check cpuhp tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/ready
	$(BIN)/ruff format --check cpuhp
	$(BIN)/ruff check cpuhp tests
	$(BIN)/mypy

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
