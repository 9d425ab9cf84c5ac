# The commands of Schwamm. `make run` and `make test` do all set-up by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
CORPUS ?= ../shared/corpus

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-long check format bench bench-load bench-peer bench-accuracy baseline lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	$(if $(shell command -v $(PYTHON)),$(PYTHON),python3) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

run: $(VENV)/run.stamp ## set up, write a trial configuration, and start the gateway
	@$(BIN)/schwamm init . --trial
	@exec $(BIN)/schwamm serve

check: $(VENV)/dev.stamp ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## set up, then check and every test but the long ones
	$(BIN)/pytest -n 2 --dist loadfile --durations=15

test-fast: $(VENV)/dev.stamp ## unit and property tests
	$(BIN)/pytest tests/unit tests/property

test-long: $(VENV)/dev.stamp ## the tests that take minutes: whole corpora, crash counts
	$(BIN)/pytest -m long

bench: $(VENV)/dev.stamp ## CPU time a message, stage by stage and of the whole gateway
	$(BIN)/python -m tests.perf.bench

bench-load: $(VENV)/dev.stamp ## latency in a crowd of connections, memory under large messages
	$(BIN)/python -m tests.perf.bench_load

bench-peer: $(VENV)/dev.stamp ## the same mail through Schwamm and through Postfix with Rspamd
	$(BIN)/python -m tests.perf.bench_peer

bench-accuracy: $(VENV)/dev.stamp ## our filter and bogofilter on the same mail
	$(BIN)/python -m training.bench_accuracy --corpus $(CORPUS) --out bench-output

baseline: $(VENV)/dev.stamp ## build the shipped model anew from the corpus
	$(BIN)/python -m training.baseline --corpus $(CORPUS) --out models/baseline

format: $(VENV)/dev.stamp ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve requirements anew (needs uv)
	uv pip compile -q pyproject.toml --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --python-version 3.11 --extra build --extra postgresql -o requirements/run.txt
	uv pip compile -q pyproject.toml --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --python-version 3.11 --extra dev -o requirements/dev.txt

clean: ## remove what make made (never var/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache bench-output
