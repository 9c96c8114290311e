# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make demo` and `make test` are the two commands to know. Both set up what they need, as root on Debian 12.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON      ?= /usr/bin/python3
VENV        := .venv
BIN         := $(VENV)/bin
NAMESPACE   := build/collections/ansible_collections/edge_encryption
LAB         := $(BIN)/python -m edgelab.lab
SANITY_PYTHON ?= 3.11
TREE        := build/sanity/ansible_collections/edge_encryption/clone
DOCS        := build/docs.work
DOCS_TREE   := $(DOCS)/ansible_collections/edge_encryption/clone

export PYTHONPATH := tests/lab
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo demo-hosts test test-long molecule soak-token-db soak-resign soak-clone bench bench-token-db bench-resign bench-hosts matrix mutation lint sanity sanity-tests docs release-check lab-up lab-down lab-status lab-hosts-up lab-hosts-down lab-hosts-status hosts-packages clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(VENV)/.ready $(NAMESPACE)/clone ## Debian packages and a virtual environment

$(VENV)/.ready: requirements.txt tests/requirements.txt tests/lab/requirements.txt tests/lab/requirements-nodeps.txt tests/debian-packages.txt
	@echo "Setting up: Debian packages, then a virtual environment in $(VENV)"
	@tests/install-debian-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r tests/lab/requirements-nodeps.txt
	@touch $@

$(NAMESPACE)/clone:
	@mkdir -p $(NAMESPACE)
	@ln -sfn ../../../.. $@

demo: setup ## clone a lab instance end to end and show the result (KEEP=1 leaves the lab up)
	@$(BIN)/python -m edgelab.demo $(if $(KEEP),--keep)

demo-hosts: setup hosts-packages ## the same over SSH: each proxy in a booted system of its own (as root; about 6 minutes, and one more the first time)
	@$(BIN)/python -m edgelab.demo --hosts $(if $(KEEP),--keep)

# In the order of the folders, whole clones come first, so that no worker waits for one in the end.
test: setup ## the fast tier of the tests; says what it leaves out
	@echo "Left out, for make test-long (tests a file):"
	@$(BIN)/python -m pytest -m long --collect-only -q tests | sed -n 's/::.*//p' | sort | uniq -c
	@$(BIN)/python -m pytest -m "not long" -n 2 --dist loadscope --no-loadscope-reorder tests

test-long: setup build/venv/release/.ready build/venv/awx/.ready build/venv/eda/.ready ## the long tier: soak, many random files, many kills, MySQL, booted hosts (as root; fetches their systems with mmdebstrap once; installs Chromium), then molecule and the matrix
	@tests/install-debian-packages tests/browser/debian-packages.txt
	@tests/install-debian-packages tests/lab/hosts/debian-packages.txt
	@$(BIN)/python -m pytest -m long -n 2 --dist loadgroup tests
	@$(MAKE) molecule
	@$(MAKE) matrix

molecule: setup ## a scenario a role, against one lab: prepare, check mode, converge, idempotence, verify; about ten minutes
	@$(BIN)/molecule destroy --scenario-name default  # what a run that was cut off has left
	$(BIN)/molecule test --all

soak-token-db: setup ## faults at random instants of the token database engine (ROUNDS=150); the report is build/soak/token_db.json
	@mkdir -p build/soak && rm -f build/soak/token_db.json
	@SOAK_ROUNDS=$(or $(ROUNDS),150) SOAK_SEED=$(or $(SEED),$$RANDOM) SOAK_REPORT=build/soak/token_db.json $(BIN)/python -m pytest -s tests/integration/test_token_db_soak.py
	@cat build/soak/token_db.json

soak-resign: setup ## everything that can go wrong while records are re-signed, at random instants (ROUNDS=100); the report is build/soak/resign.json
	@mkdir -p build/soak
	@SOAK_ROUNDS=$(or $(ROUNDS),100) SOAK_SEED=$(or $(SEED),$$RANDOM) SOAK_REPORT=build/soak/resign.json \
		$(BIN)/python -m pytest -s -m "not long" tests/integration/test_resign_soak.py
	@cat build/soak/resign.json

soak-clone: setup ## whole clones whose controller is killed at random instants (ROUNDS=8, about 40 kills and 40 minutes); the report is build/soak/clone.json
	@mkdir -p build/soak
	@SOAK_ROUNDS=$(or $(ROUNDS),8) SOAK_SEED=$(or $(SEED),$$RANDOM) SOAK_REPORT=build/soak/clone.json $(BIN)/python -m pytest -s tests/e2e/test_clone_soak.py
	@cat build/soak/clone.json

bench: bench-token-db bench-resign bench-hosts ## all benchmarks

bench-token-db: setup ## the token database engine against mysql_db and mydumper, on 1 and 5 million rows; about an hour
	@tests/install-debian-packages tests/bench/debian-packages.txt
	@PYTHONPATH=build/collections $(BIN)/python -m ansible_collections.edge_encryption.clone.tests.bench.token_db $(ARGUMENTS)

bench-resign: setup ## re-signing 1,000 records at 50 ms round trip, against a playbook loop and the bound; about two minutes
	@PYTHONPATH=build/collections:tests/lab $(BIN)/python -m ansible_collections.edge_encryption.clone.tests.bench.resign $(ARGUMENTS)

bench-hosts: setup ## stop, configure and start 2, 8 and 32 proxies, against a playbook by hand, and what a whole clone costs; the report is build/bench/hosts.json
	@PYTHONPATH=build/collections:tests/lab $(BIN)/python -m ansible_collections.edge_encryption.clone.tests.bench.hosts $(ARGUMENTS)

lint: setup ## ruff, mypy, ansible-lint with the production profile
	$(BIN)/ruff check .
	cd build/collections && mypy --config-file $(CURDIR)/pyproject.toml $(patsubst %,ansible_collections/edge_encryption/clone/%,plugins/module_utils plugins/plugin_utils plugins/inventory extensions/eda)
	$(BIN)/ansible-lint --offline --profile production

# A copy of what git knows, without virtual environments and earlier builds.
define copy_to
	@rm -rf $(1) && mkdir -p $(1)
	@git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -xf - -C $(1)
endef

# Tools of the long way to a release; each set has a virtual environment of its own, so that `make test` stays as it is.
build/venv/%/.ready:
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check $(patsubst %,-r %,$^)
	@touch $@

build/venv/docs/.ready: docs/site/requirements.txt
build/venv/release/.ready: tests/release/requirements.txt
build/venv/awx/.ready: tests/awx/requirements.txt
build/venv/eda/.ready: tests/eda/requirements.txt
build/venv/mutation/.ready: tests/mutation/requirements.txt

sanity: setup ## ansible-test sanity, on a copy that lies where it wants it
	@$(MAKE) --no-print-directory sanity-tests

sanity-tests:
	$(call copy_to,$(TREE))
	@git -C $(TREE) init --quiet  # ansible-test asks git which files there are
	@tests/sanity/prepare
	cd $(TREE) && ansible-test sanity --python $(SANITY_PYTHON) --color no

matrix: setup $(if $(filter 2.2%,$(or $(CORE),2.20)),hosts-packages) ## unit tests, sanity and a whole clone on each supported ansible-core (CORE="2.16 2.21" chooses, PART="units sanity main_job" too); about an hour
	@$(BIN)/python tests/matrix/run.py $(if $(CORE),--core $(CORE)) $(if $(PART),--part $(PART))

mutation: setup build/venv/mutation/.ready ## change utils that decide something, one place at a time, and see that a unit test notices (UTIL="_properties" chooses); about half an hour
	$(call copy_to,build/mutation/copy)
	@build/venv/mutation/bin/python tests/mutation/run.py --copy build/mutation/copy --python $(CURDIR)/$(BIN)/python $(if $(UTIL),--util $(UTIL))

docs: build/venv/docs/.ready ## the documentation as a site in build/docs; any warning fails
	@rm -rf $(DOCS) build/docs
	$(call copy_to,$(DOCS_TREE))
	@mkdir -p -m 755 $(DOCS)/site
	@PATH=$(CURDIR)/$(<D)/bin:$$PATH ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/$(DOCS) docs/site/build $(CURDIR)/$(DOCS_TREE) $(CURDIR)/$(DOCS)/site $(CURDIR)/build/docs

release-check: setup build/venv/release/.ready docs ## the site, and what Ansible Galaxy would say of the built artifact, changelog and licences (a few minutes)
	@$(BIN)/python -m pytest -m long tests/release

lab-up: setup ## bring the lab up and leave it up
	@$(LAB) up

lab-down: setup ## stop every process of the lab
	@$(LAB) down

lab-status: setup ## what runs
	@$(LAB) status

hosts-packages:
	@tests/install-debian-packages tests/lab/hosts/debian-packages.txt

lab-hosts-up: setup hosts-packages ## bring up the lab whose proxies have a booted system each, and leave it up (as root)
	@$(LAB) up --hosts

lab-hosts-down: setup ## shut the hosts down and undo all that they needed
	@$(LAB) down --hosts

lab-hosts-status: setup ## what of it runs
	@$(LAB) status --hosts

clean: ## remove the virtual environment and everything built; stops the labs first
	@if [ -x $(BIN)/python ] && [ -e build/lab ]; then $(LAB) down; fi
	@if [ -x $(BIN)/python ] && [ -e build/lab-hosts ]; then $(LAB) down --hosts; fi
	@rm -rf $(VENV) build
