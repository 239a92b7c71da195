# Each target works on a fresh Debian machine, as root, with git, Python and make: what is missing is installed first.
# The host's own Postfix, Dovecot and PostgreSQL are neither started nor changed.
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo up down test test-unit test-integration provision-test lint bench endurance package fuzz clean help
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(STAMP) ## a trader and an agency exchange messages through a real gateway
	$(BIN)/python -m tests.sandbox demo

up: $(STAMP) ## start the sandbox; .instance/env tells clients what they need
	$(BIN)/python -m tests.sandbox up

down: $(STAMP) ## stop the sandbox and remove all it left
	$(BIN)/python -m tests.sandbox down

# Side by side, as they mostly wait: for daemons, databases and the clock. One after the other they take nearly twice as long.
test: $(STAMP) ## lint, unit, property and integration tests, on real daemons
	$(MAKE) --jobs --output-sync=target lint test-unit test-integration

test-unit: $(STAMP)
	$(BIN)/pytest tests/unit tests/property tests/provisioning/test_one_host.py

test-integration: $(STAMP)
	$(BIN)/pytest -o cache_dir=.pytest_cache/integration tests/integration

provision-test: $(STAMP) ## the Ansible roles on real Debian 12 and 13 guests, with several hosts; about ten minutes
	$(BIN)/python -m tests.provisioning.together

lint: $(STAMP) ## ruff, mypy --strict, yamllint and ansible-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd ansible && PATH="$(CURDIR)/$(BIN):$$PATH" yamllint --strict . && PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint --offline -q

bench: $(STAMP) ## speed as ratios to a peer of the same run; not in CI
	$(BIN)/python -m tests.bench

endurance: $(STAMP) ## 5,000 messages while every daemon is killed once: what is lost, what is doubled; not in CI
	FAULT_MESSAGES=5000 $(BIN)/pytest -s -k postfix_dovecot_and_all_others tests/integration/test_faults.py

package: ## dist/digipoort_VERSION_all.deb, for Debian 12 and 13; VERSION=0.1.1 names another version than pyproject.toml's
	debian/build-deb dist $(VERSION)

fuzz: $(STAMP) ## ten minutes of coverage-guided fuzzing for each parser, two at a time; not in CI
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	printf '%s\n' header login mime policy report stream | xargs -P 2 -I TARGET $(BIN)/python -m tests.fuzz TARGET

clean: ## stop the sandbox, remove everything that was built
	@[ ! -e .instance ] || $(BIN)/python -m tests.sandbox down
	rm -rf $(VENV) .instance build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# System site packages: the runtime dependencies are Debian's, in the versions that a mail host runs (docs/decisions/0002).
$(STAMP): pyproject.toml tests/sandbox/install-packages
	tests/sandbox/install-packages
	[ -x $(BIN)/python ] || $(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
