# Every target prepares what it needs: a private .venv with what uv.lock names. Only Python 3.11 or newer must be there.
PYTHON ?= python3
BIN := .venv/bin

# uv works in the .venv that this file made; it neither looks for another Python nor downloads one.
export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON := $(BIN)/python
export UV_PYTHON_DOWNLOADS := never

.PHONY: install demo test check bench bench-postgres bench-outbox bench-mark mutants soak clean

install: .venv/.synced

demo: install
	$(BIN)/fait demo

test: install
	$(BIN)/pytest -n 4 # most of them wait: for disks, servers and clocks

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: install
	$(BIN)/uv sync --frozen --all-extras --group bench
	$(BIN)/python bench/run.py $(ARGS)

bench-postgres: install
	$(BIN)/uv sync --frozen --all-extras --group bench
	PYTHONPATH=bench $(BIN)/python -m postgres.run $(ARGS)

bench-outbox: install
	$(BIN)/uv sync --frozen --all-extras --group bench
	PYTHONPATH=bench $(BIN)/python -m outbox $(ARGS)

bench-mark: install
	PYTHONPATH=bench $(BIN)/python -m mark $(ARGS)

mutants: install
	$(BIN)/python -m tests.mutants

# The promises, tried for long: make soak STORE=postgresql://user@host/database MINUTES=60
STORE ?= sqlite:///soak.db
MINUTES ?= 10
soak: install
	$(BIN)/fait verify-store "$(STORE)" --minutes $(MINUTES)

clean:
	rm -rf .venv dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fait needs Python 3.11 or newer: make PYTHON=python3.11 install")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/.synced: pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --frozen --all-extras
	touch $@
