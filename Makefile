# Two commands matter: `make drill` and `make test`. Both install what they need into .venv first.
# ARGS is passed on: make drill ARGS="--help", make test ARGS="tests/policy -k cap".

# The first Python on PATH that is new enough; without one, bootstrap.py says so.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && exit; \
	done; echo python3)
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help drill test explore fuzz check format policy-coverage bench pins clean ready ready-dev ready-bench

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

drill: ready ## Run the drills: stub providers, real daemon, Toxiproxy, load, faults, verdict, report
	$(BIN)/exai drill $(ARGS)

test: ready-dev ## Run the tests
	$(BIN)/exai toxiproxy install
	$(BIN)/pytest -n auto $(ARGS)

explore: ready-dev ## Explore the daemon in virtual time: make explore SEEDS=10000
	$(BIN)/python tests/explore --seeds $(or $(SEEDS),10000) $(ARGS)

fuzz: ready-dev ## Send frames that nobody should send: make fuzz MESSAGES=100000
	$(BIN)/python tests/explore --fuzz $(or $(MESSAGES),100000) $(ARGS)

check: ready-dev ## Lint, check format, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: ready-dev ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

policy-coverage: ready-dev ## Fail unless the policy's own tests cover each of its branches
	$(BIN)/pytest tests/policy -n auto --cov=reference_daemon.policy --cov-branch \
		--cov-report=term-missing --cov-fail-under=100 $(ARGS)

bench: ready-bench ## Run the benchmarks
	@set -e; for file in $(sort $(wildcard benchmarks/bench_*.py)); do $(BIN)/python "$$file" $(ARGS); done

pins: ## Resolve versions and hashes anew (newest: make pins ARGS=--upgrade)
	$(PYTHON) .ci/pins.py $(ARGS)

clean: ## Remove what can be made again; runs/ stays
	rm -rf .venv .venv.lock build dist htmlcov .coverage .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

ready:
	@$(PYTHON) bootstrap.py

ready-dev:
	@$(PYTHON) bootstrap.py --extra dev --extra dask

ready-bench:
	@$(PYTHON) bootstrap.py --extra dev --extra dask --extra bench
