# Every target sets itself up: a virtual environment from the lock file, then its job.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
SUPPORTED := 3.13 3.12 3.11
STAMP := $(VENV)/.complete

.PHONY: help setup demo test test-all lint lock proto bench scoreboard weights clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make .venv from requirements.lock with the newest supported Python found

$(STAMP): requirements.lock pyproject.toml scripts/find-python
	@python=$$(scripts/find-python $(SUPPORTED)) && \
	echo "setting up $(VENV) with $$($$python --version)" && \
	rm -rf $(VENV) && $$python -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . && \
	touch $@

demo: setup ## run the demo: embedded broker, made-up traffic, the worker, what was found
	$(BIN)/streamproc demo

test: setup ## run all tests (real Kafka where Java is found), two files at a time: half of it is waiting
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: ## run the unit tests on every supported Python that is found
	@for v in $(SUPPORTED); do \
	  if python=$$(scripts/find-python $$v 2>/dev/null); then \
	    $(MAKE) --no-print-directory VENV=.venv-$$v SUPPORTED=$$v setup && \
	    .venv-$$v/bin/python -m pytest tests --ignore=tests/worker --ignore=tests/broker || exit 1; \
	  else echo "Python $$v: not found, skipped"; fi; \
	done

lint: setup ## ruff, format, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup ## benchmarks: ratios to something measured in the same run
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/rounds.py
	$(BIN)/python benchmarks/worker.py
	$(BIN)/python -m benchmarks.limiter
	$(BIN)/python -m benchmarks.console
	$(BIN)/python -m benchmarks.refusal
	$(BIN)/python -m benchmarks.envoy
	$(BIN)/python -m benchmarks.fingerprint
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.litellm

weights: setup ## fit weights, null, thresholds and probabilities on the simulator, into streamproc/policy.toml
	$(BIN)/python -m streamproc.sim.weights

scoreboard: setup ## judge every kind by weights that never saw it, into docs/SCOREBOARD.md
	$(BIN)/python -m streamproc.sim.scoreboard

lock: setup ## write requirements.lock anew from pyproject.toml, and of it what the image needs
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --all-extras --group dev pyproject.toml scripts/build-requirements.in -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --all-extras --constraint requirements.lock pyproject.toml scripts/build-requirements.in -o deploy/requirements.lock

proto: setup ## write the messages of gateway/authz/envoy.proto anew
	$(BIN)/python -m pip install --quiet 'grpcio-tools==1.85.1'
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. streamproc/gateway/authz/envoy.proto

clean: ## remove what the targets made
	rm -rf .venv .venv-* .cache .pytest_cache .mypy_cache .ruff_cache dist
