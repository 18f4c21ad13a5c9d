# Everything a developer does here; `make` alone lists it. Needs Python 3.11+, make and git, nothing else.

PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))
UV ?= $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := .venv/bin/python
export UV_PYTHON_DOWNLOADS := never
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup demo test unit e2e faults bench lint types contracts proto proto-check charts binaries clean

help: ## list what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.synced ## install the locked dependencies into .venv

.tools/bin/uv:
	@test -n "$(PYTHON)" || { echo "Felloe needs Python 3.11 or newer on PATH"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv

.venv/.synced: uv.lock pyproject.toml | $(filter .tools/bin/uv,$(UV))
	@echo "installing the locked dependencies into .venv"
	@$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

demo: setup ## three real clusters, a hub and three spokes; watch a commit arrive (KEEP=1 leaves them running)
	@$(RUN) -m tests.demo $(if $(KEEP),--keep)

test: unit e2e ## every test

unit: setup binaries ## tests without a cluster
	$(RUN) -m pytest tests/unit

# They wait for servers more than they compute; each worker has clusters of its own.
e2e: setup binaries ## tests on real API servers
	$(RUN) -m pytest tests/e2e --numprocesses=2 --dist=loadfile

faults: setup binaries ## kill a spoke at 200 points, with late requests and on a link too (KILLS=N LATE=N LINK=N SEED=N)
	$(RUN) -m tests.faults $(if $(KILLS),--kills $(KILLS)) $(if $(LATE),--late $(LATE)) $(if $(LINK),--link $(LINK)) $(if $(SEED),--seed $(SEED))

bench: setup binaries ## measure against the raw limit of this machine
	$(RUN) -m bench
	$(RUN) -m bench.scale
	$(RUN) -m bench.targeting
	$(RUN) -m bench.rollout

binaries: setup ## build the test control plane (cached)
	@$(RUN) -m tests.cluster binaries

lint: setup ## style
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: setup ## mypy --strict
	$(RUN) -m mypy

contracts: setup ## who may import whom
	.venv/bin/lint-imports

proto: setup ## regenerate the protobuf code
	$(RUN) proto/generate.py

proto-check: setup ## say whether the generated code is fresh
	$(RUN) proto/generate.py --check

charts: setup ## lint and render both charts
	$(RUN) -m pytest tests/unit/charts

clean: ## remove what setup made (caches in the user's cache folder stay)
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
