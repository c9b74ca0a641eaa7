# Each target installs what it needs into .venv: the versions that uv.lock names. Python 3.11 or newer is the only
# requirement. Variables: PYTHON=python3.12; ARGS="..." for the benchmarks, mutants, hostile, fleet and delivery; STORE=... and
# MINUTES=... for soak; MINUTES=... for hostile, fleet and delivery, and BROKER=... for delivery.
PYTHON ?= python3
BIN := .venv/bin
STORE ?= sqlite:///soak.db
MINUTES ?= 10

# uv uses the .venv that this file creates; it neither searches for another Python nor downloads one.
export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON := $(BIN)/python
export UV_PYTHON_DOWNLOADS := never

# Tests start hundreds of processes, and each would compile fait again without the compiled files of the first.
unexport PYTHONDONTWRITEBYTECODE

# Pythons and packages for `make pythons`, as PYTHON[=lowest]; outside of the tree.
PYTHONS ?= 3.11=lowest 3.11 3.12 3.13 3.14
PYTHONS_DIR ?= /tmp/fait-pythons

.PHONY: help install demo demo-brokers quick test test-failed check style mutants soundness pythons soak hostile fleet delivery bench bench-postgres bench-outbox bench-mark bench-brokers bench-relay bench-handled bench-held bench-workers bench-upcasting bench-check bench-http hops clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.synced ## install fait and its development tools into .venv: 15 s

demo: install ## run the example shop
	$(BIN)/fait demo

demo-brokers: install ## run two services over NATS, Redis, Kafka and RabbitMQ, next to a program that loses messages: a minute
	$(BIN)/python -m tests.servers.demo_brokers

quick: install ## tests without a server and without slow programs: 90 s
	$(BIN)/pytest -n 4 -m "not server and not slow"

test: install ## all tests, on real servers: 20 to 25 minutes
	$(BIN)/pytest -n 5 # more than the cores: most tests wait for disks, servers and clocks

test-failed: install ## the tests that failed in the last run, one after the other
	$(BIN)/pytest --last-failed --last-failed-no-failures none

check: install ## formatting, lint, types, import contracts, style: 30 s
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture.style

style: install ## only the style check
	$(BIN)/python -m tests.architecture.style

mutants: install ## plant each fault, or ARGS="NAME ..."; a named test must detect it: 20 minutes
	$(BIN)/python -m tests.mutants $(ARGS)

soundness: install ## search for changes of events that are called readable and are not: MINUTES=10
	$(BIN)/python -m tests.schema.soundness --minutes $(MINUTES) $(ARGS)

pythons: install ## tests of events on each Python that is installed, and with the oldest packages: PYTHONS="3.12 3.13"
	$(BIN)/python -m tests.pythons --folder $(PYTHONS_DIR) $(PYTHONS)

soak: install ## test the guarantees on a store of yours: STORE=postgresql://... MINUTES=60
	$(BIN)/fait verify-store "$(STORE)" --minutes $(MINUTES)

hostile: install ## kill, pause, cut, crash, fail over and deploy under load, on servers of its own: MINUTES=60
	$(BIN)/python -m tests.hostile.run --minutes $(MINUTES) $(ARGS)

fleet: install ## kill and stop workers that share the ranges of an app, on SQLite and PostgreSQL: MINUTES=5
	$(BIN)/python -m tests.fleet.run --minutes $(MINUTES) $(ARGS)

delivery: install ## kill, stop and cut off relays, consumers, brokers and databases: BROKER=nats MINUTES=10
	$(BIN)/python -m tests.delivery.run --minutes $(MINUTES) $(if $(BROKER),--brokers $(BROKER)) $(ARGS)

bench: install ## measure on SQLite; ARGS="--help" lists the options
	$(BIN)/uv sync --frozen --all-extras --group bench
	$(BIN)/python bench/run.py $(ARGS)

bench-postgres: install ## measure on PostgreSQL
	$(BIN)/uv sync --frozen --all-extras --group bench
	PYTHONPATH=bench $(BIN)/python -m postgres.run $(ARGS)

bench-outbox: install ## measure the overhead of the outbox
	$(BIN)/uv sync --frozen --all-extras --group bench
	PYTHONPATH=bench $(BIN)/python -m outbox $(ARGS)

bench-mark: install ## measure the high-water mark with many connections
	PYTHONPATH=bench $(BIN)/python -m mark $(ARGS)

bench-brokers: install ## measure publishing to NATS, Redis, Kafka and RabbitMQ: two minutes
	PYTHONPATH=bench $(BIN)/python -m brokers $(ARGS)

bench-relay: install ## measure relays to each broker, next to the one of a tutorial and faststream-outbox: five minutes
	$(BIN)/uv sync --frozen --all-extras --group bench
	PYTHONPATH=bench $(BIN)/python -m relay $(ARGS)

bench-handled: install ## measure from a commit to a handler in another process, over each broker: a minute
	PYTHONPATH=bench:. $(BIN)/python -m handled $(ARGS)

bench-held: install ## measure a relay while transactions of other programs are held open: 5 minutes
	PYTHONPATH=bench:. $(BIN)/python -m held $(ARGS)

bench-workers: install ## measure concurrent calls, processes, a poisoned key and the loss of a worker: 12 minutes
	PYTHONPATH=bench:. $(BIN)/python -m workers $(ARGS)

bench-upcasting: install ## measure decoding of events of current and older versions: 10 s
	PYTHONPATH=bench $(BIN)/python bench/upcasting.py

bench-check: install ## measure the check of 500 event types in 4 versions; ARGS="TYPES VERSIONS"
	PYTHONPATH=bench $(BIN)/python -m check $(ARGS)

bench-http: install ## measure POST /orders through uvicorn, next to SQLAlchemy: a minute
	PYTHONPATH=bench:. $(BIN)/python -m web $(ARGS)

hops: install ## count the functions that a command and a delivery enter; ARGS="--list" names them
	PYTHONPATH=bench $(BIN)/python -m hops $(ARGS)

clean: ## remove .venv and all caches
	rm -rf .venv dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fait needs Python 3.11 or newer: make PYTHON=python3.11 install")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/.synced: pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --frozen --all-extras
	touch $@
