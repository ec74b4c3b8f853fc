# `make` shows what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
TYPED := admin benchmarks clients/billow core demo press protos/generate.py server stack tests workers

.PHONY: help setup demo up down status test simulate mutations fuzz audit-deps lint proto bench bench-peers bench-soak \
	bench-overload chaos ci

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is needed: Debian packages and .venv (safe to run again)
	@python3 -m stack.install

demo: setup ## Start everything, issue, verify, archive and audit 150,000 invoices (SCALE=0.1)
	@$(BIN)/python -m demo --scale $(or $(SCALE),0.1)

up: setup ## Start the whole system on this machine and leave it running
	@$(BIN)/python -m stack up

down: ## Stop it
	@$(BIN)/python -m stack down

status: ## Show what is running
	@$(BIN)/python -m stack status

test: setup ## Unit, contract, simulation, fuzz and integration tests, the last against real servers
	@$(BIN)/python -m pytest tests/unit tests/contract tests/simulation tests/fuzz tests/integration

simulate: setup ## Histories of the issuing core with faults at every await, by seed (SEEDS=20000; FROM=1)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000) --from $(or $(FROM),1)

mutations: setup ## Break each promise on purpose, in a copy, and see the tests notice (ONLY=P2,P7: some promises)
	@$(BIN)/python -m tests.mutations --only "$(ONLY)"

lint: setup ## ruff, mypy, import-linter, buf lint, buf breaking, stubs up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check

proto: setup ## Generate stubs and Envoy's descriptor set from protos/
	@$(BIN)/python protos/generate.py

bench: setup ## Measure everything (QUICK=1: under two minutes; ONLY=bulk,surge: parts; ROWS=10_000_000: growth as well)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS))

bench-peers: setup ## Tryton posting three-line invoices, in an environment of its own (SECONDS=20)
	@$(BIN)/python -m benchmarks.peers.tryton --seconds $(or $(SECONDS),20)

bench-soak: setup ## Half of the highest rate for 20 minutes, memory and descriptors watched (MINUTES=20)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks --only soak --soak-minutes $(or $(MINUTES),20)

bench-overload: setup ## Three times what can be done for 5 minutes, modest tenants beside a greedy one (MINUTES=5)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks --only overload --overload-minutes $(or $(MINUTES),5)

chaos: setup ## Break everything under load and compare (QUICK=1: 4 minutes; SEED=1; MINUTES=28; FAULTS='kill *,redis *')
	@$(BIN)/python -m tests.chaos $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(FAULTS),--faults '$(FAULTS)') $(if $(ALERTS),--alerts)

fuzz: setup ## Every decoder of outside bytes, by coverage (SECONDS=30 for each; ONLY=xml,ofd: some)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),30) $(if $(ONLY),--only $(ONLY))

audit-deps: setup ## What is installed against what is allowed, licences, a bill of materials (run/sbom.json)
	@$(BIN)/python -m stack.dependencies --sbom run/sbom.json

ci: setup lint test ## What CI runs
