# Each target first makes what it needs: the environment in .venv, the official SDK's in .cache.
# Nothing else is needed but Python 3.11 or later and a package index; name another interpreter
# with `make PYTHON=/path/to/python3 ...`.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))
BIN := .venv/bin
ENV := .venv/.stamp
# The official Python SDK that the compatibility tests run, with what its own pages ask for.
OFFICIAL_VERSION := 0.5.19
OFFICIAL := inngest[connect]==$(OFFICIAL_VERSION)
OFFICIAL_ENV := .cache/official-py/.stamp-$(OFFICIAL_VERSION)
# The other official SDKs: TypeScript 4 and 3 on a Node of their own, Go. Where npm or go is not
# installed they are left out (a CI must have both).
COMPAT_TS := .cache/compat/node/.stamp .cache/compat/v4/.stamp .cache/compat/v3/.stamp .cache/compat/tools/.stamp
COMPAT_GO := .cache/compat/go/.stamp
# The Go blocks of the pages whose examples run in tests/docs.
SEED_GO := .cache/compat/seed-go/.stamp
COMPAT := $(if $(shell command -v npm),$(COMPAT_TS)) $(if $(shell command -v go),$(COMPAT_GO) $(SEED_GO))
# The engines that the benchmarks compare us with, each in an environment of its own.
PEERS := .cache/peers/.stamp
WIRE := src/stepwell/wire
# make bench BENCH="--quick --only workloads"; without BENCH everything, ten minutes
BENCH ?=
# make soak SUITE="power-loss chaos" MINUTES=30
SUITE ?= sim process-sim power-loss chaos transport storm stopped-workers expressions compat min-versions
MINUTES ?= 10
SOAK_sim = tests.sim.soak --minutes $(MINUTES)
SOAK_process-sim = tests.process_sim --minutes $(MINUTES)
SOAK_power-loss := tests.store.power_loss --cuts 2000
# 1,000 kills of the server and as many of workers, unless MINUTES or KILLS says otherwise
KILLS ?= 1000
SOAK_chaos = tests.chaos.soak $(if $(filter file,$(origin MINUTES)),--kills $(KILLS),--minutes $(MINUTES))
# Cuts of the real lengths last: a quarter of an hour
SOAK_transport := tests.chaos.transport
SOAK_storm := tests.chaos.transport.storm
SOAK_stopped-workers := tests.chaos.stopped_workers --replies 500
SOAK_compat := tests.compat.soak
SOAK_min-versions := tests.compat.minimum
SOAK_expressions := tests.properties.expressions.soak --count 100000

.DEFAULT_GOAL := test
.PHONY: demo test soak bench lint types fmt docs proto
.SILENT:

demo: $(ENV) ; $(BIN)/python -m stepwell.cli demo
test: lint types $(OFFICIAL_ENV) $(COMPAT) ; $(BIN)/python -m pytest -q -n 2 --ignore tests/compat/scenarios && $(BIN)/python -m pytest -q -n 4 --dist loadgroup tests/compat/scenarios
soak: $(ENV) $(OFFICIAL_ENV) $(COMPAT) ; set -e $(foreach suite,$(SUITE),; $(BIN)/python -m $(or $(SOAK_$(suite)),$(error SUITE may name sim, process-sim, power-loss, chaos, transport, storm, stopped-workers, expressions, compat and min-versions, not "$(suite)")))
bench: $(ENV) $(OFFICIAL_ENV) $(PEERS) ; $(BIN)/python -m benchmarks $(BENCH)
lint: $(ENV) ; $(BIN)/ruff check -q && $(BIN)/ruff format -q --diff && { $(BIN)/lint-imports --no-logo > .venv/imports.log || { cat .venv/imports.log; exit 1; }; }
types: $(ENV) ; $(BIN)/mypy --no-error-summary
fmt: $(ENV) ; $(BIN)/ruff check -q --fix && $(BIN)/ruff format -q
docs: $(ENV) $(OFFICIAL_ENV) $(COMPAT) ; $(BIN)/python -m tests.docs.tables --write && $(BIN)/python -m pytest -q tests/docs
proto: $(ENV) ; $(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src $(WIRE)/connect.proto

$(ENV): pyproject.toml
	$(if $(PYTHON),,$(error Stepwell needs Python 3.11 or later; none was found. Install one, or name it: make PYTHON=/path/to/python3))
	echo "making .venv with $(PYTHON) (once; about a minute)" >&2
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[server]' --group dev
	touch $@

$(OFFICIAL_ENV): tests/compat/python.txt | $(ENV)
	echo "making .cache/official-py with $(OFFICIAL) (once)" >&2
	$(BIN)/python -m venv --clear .cache/official-py
	.cache/official-py/bin/python -m pip install -q --disable-pip-version-check '$(OFFICIAL)' 'protobuf>=5.29.4,<6' 'psutil>=6,<7' 'websockets>=15,<16' -r tests/compat/python.txt
	touch $@

$(COMPAT_TS): .cache/compat/%/.stamp: tests/compat/typescript/%/package-lock.json
	echo "making $(@D) from the npm registry (once)" >&2
	mkdir -p $(@D) && cp tests/compat/typescript/$*/package*.json $(@D)
	npm ci --silent --no-audit --no-fund --prefix $(@D)
	touch $@

# What is built is decided by Go's own cache, which goes by the content of the sources.
$(COMPAT_GO): $(wildcard tests/compat/go/*)
	echo "building $(@D)/app (the first time a minute, with what it needs)" >&2
	mkdir -p $(@D) && cd tests/compat/go && go build -trimpath -o $(CURDIR)/$(@D)/app .
	touch $@

$(SEED_GO): $(wildcard tests/docs/go/* tests/docs/seed/*.go) tests/docs/seed_go.py | $(ENV)
	echo "building the Go blocks of the pages into $(@D)/bin (the first time a minute)" >&2
	$(BIN)/python -m tests.docs.seed_go
	touch $@

# What cannot be had here is left out of the comparison; the benchmarks say so.
$(PEERS): $(wildcard benchmarks/peers/*.txt) | $(ENV)
	echo "making .cache/peers (once; DBOS, and Restate with its server from npm)" >&2
	mkdir -p .cache/peers
	for peer in dbos restate; do $(BIN)/python -m venv --clear .cache/peers/$$peer && .cache/peers/$$peer/bin/python -m pip install -q --disable-pip-version-check -r benchmarks/peers/$$peer.txt || touch .cache/peers/.failed; done
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix .cache/peers/restate $$(cat benchmarks/peers/restate-npm.txt) || touch .cache/peers/.failed
	if [ -e .cache/peers/.failed ]; then rm .cache/peers/.failed; echo "some peers are missing here and will be skipped" >&2; else touch $@; fi
