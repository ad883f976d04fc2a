# Every target with one line: make help
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run demo test test-chaos load lint format protos docs examples migrate bench bench-edge bench-primitives audit clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: protos  ## Start the whole system here and keep it in the foreground; Ctrl-C stops it
	@exec $(BIN)/kv-erp up

demo: protos  ## Play one order through the running system and print what happens
	@$(BIN)/kv-erp demo

test: protos  ## Run all tests but the long campaigns
	@$(BIN)/python -m pytest -m "not long" -n 2 --dist loadfile --no-loadscope-reorder

test-chaos: protos  ## Run the long campaigns: faults under load
	@$(BIN)/python -m pytest -m long

lint: protos  ## Check style, types and protos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python protos/lint.py

format: .venv/ready  ## Rewrite the code in the house style
	@$(BIN)/ruff check --fix --quiet .; $(BIN)/ruff format .

protos: libs/erp/ready  ## Generate libs/erp and libs/buf from protos/

examples: protos  ## Record anew what the examples of the API's documentation answer
	@cd tests && ../$(BIN)/python story.py

docs: protos  ## Write docs/reference/ anew, from the code
	@$(BIN)/python docs/generate
	@$(BIN)/python -m ops.metrics_reference
	@$(BIN)/python -m ops.dashboards

migrate: protos  ## Bring the databases of the running stack to the newest schema
	@$(BIN)/kv-erp migrate

audit: protos  ## Check every promise on the data of the running stack
	@$(BIN)/kv-erp audit

load: protos  ## Seed the running stack and let users work on it for a minute
	@$(BIN)/kv-erp seed
	@LOAD_DATA=$${KV_ERP_DEV_DIR:-.dev}/load.json $(BIN)/locust -f tests/load/locustfile.py --headless --users 50 --spawn-rate 5 --run-time 60s --exit-code-on-error 1

bench: protos  ## Measure orders, and write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

bench-edge: protos  ## Measure the gateway and a noisy tenant, and write benchmarks/EDGE.md
	@$(BIN)/python -m benchmarks.edge_report

bench-primitives: protos  ## Measure jobs, locks, limits, cache and events, and write benchmarks/PRIMITIVES.md
	@$(BIN)/python -m benchmarks primitives

clean:  ## Remove what was generated and installed; .dev, which holds data, stays
	@rm -rf .venv libs/erp libs/buf .pytest_cache .mypy_cache .ruff_cache

# Some networks are trusted by the system's certificates only, some systems have none of their own.
SYNC := $(BIN)/uv sync --quiet --frozen --all-packages --inexact

# uv comes from the package registry into the project's own environment, never into the system's Python.
.venv/ready: pyproject.toml uv.lock $(wildcard services/*/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv==0.13.9
	@$(SYNC) || $(SYNC) --system-certs
	@touch $@

libs/erp/ready: .venv/ready protos/generate.py protos/client.py $(shell find protos -name '*.proto')
	@$(BIN)/python protos/generate.py
	@$(BIN)/python protos/client.py
	@touch $@
