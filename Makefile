# Short targets; the work is in hack/, tests/ and the two packages. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where a folder with the CPU build of torch lies beside the clone, it saves the download of the CUDA build.
WHEELS := $(wildcard ../shared/wheels)
# Compiled when the worker is installed.
KERNELS := $(wildcard worker/reranker_worker/kernels/*.[ch])
PIP := .venv/bin/python -m pip --disable-pip-version-check
PY := .venv/bin/python
CLUSTER ?= local
SEED ?= 1
export CLUSTER

.PHONY: help demo demo-down test ecosystem image-volumes accuracy clients e2e swap-proof check generate docs format bench bench-engine cluster cluster-down images clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## cluster, images, operator, a real model; an adapter and a revision swapped under load
	@python3 -m hack.demo up

demo-down: ## remove all that the demo started
	@python3 -m hack.demo down

test: .venv/.installed ## unit, contract, chart and GitOps tests, and those against a real API server and a real browser
	$(PY) -m pytest tests/unit tests/contract tests/chart tests/gitops tests/apiserver tests/browser

accuracy: .venv/.installed ## the trained model: exact scores in fp32, ranking quality in bf16 (minutes)
	$(PY) -m pytest tests/accuracy

ecosystem: .venv/.installed ## the real KEDA, its HTTP add-on and Envoy Gateway on the real node (built the first time: an hour of CPU time)
	$(PY) -m pytest tests/ecosystem

image-volumes: .venv/.installed ## models from images that the node mounts, on a node with containerd 2 (built the first time)
	$(PY) -m pytest tests/image_volumes

clients: .venv/.installed ## real client libraries, each in its own environment, against a served model
	@$(PY) -m hack.clients

e2e: .venv/.installed ## the tests on the real node (KEEP=1 leaves it running)
	$(PY) -m pytest tests/e2e

swap-proof: .venv/.installed ## 60 swaps at random under load on the real node, every answer checked (SEED=1)
	@$(PY) -m hack.swapproof --seed=$(SEED)

check: .venv/.installed ## linters, types, import contracts, generated files, chart
	$(PY) -m hack.check

generate: .venv/.installed ## write what is generated from the code
	$(PY) -m reranker_operator.resources.crd crds
	$(PY) -m hack.check.readme > charts/reranker-operator/README.md
	$(PY) -m hack.docs.reference docs/reference

docs: .venv/.installed ## the docs site, to build/site; a warning is an error
	@$(PY) -m hack.docs

format: .venv/.installed ## format and sort imports
	.venv/bin/ruff check --fix-only . && .venv/bin/ruff format .

bench: .venv/.installed ## this worker and its peers side by side (ARGS="--rounds 1")
	$(PY) -m bench $(ARGS)

bench-engine: .venv/.installed ## the engine against what the processor could do (ARGS=--profile)
	$(PY) -m bench.engine $(ARGS)

cluster: ## start the local node
	@python3 -m hack.cluster up

cluster-down: ## stop it and clean up after it
	@python3 -m hack.cluster down

images: ## build both images and load them into the cluster
	@python3 -m hack.images build && python3 -m hack.images load

clean: ## remove what make wrote in this folder
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache

.venv/.installed: constraints.txt constraints-dev.txt requirements-dev.txt operator/pyproject.toml worker/pyproject.toml $(KERNELS)
	python3 -m venv .venv
	$(PIP) install --quiet --constraint constraints.txt --constraint constraints-dev.txt $(if $(WHEELS),--find-links $(WHEELS)) \
	    --editable ./operator --editable './worker[tracing]' --requirement requirements-dev.txt
	touch $@
