# The whole interface of this repository. Every target says what it does and is safe to repeat; the work is in hack/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
NAME ?= test

.PHONY: help demo demo-down test test-unit test-health test-alerts test-first-day test-hostile test-rotation test-holders test-network-policies test-backends test-clock test-runner test-runner-doubles test-postgres test-cluster test-fuzz test-grouping test-scrub sdk-matrix test-browser test-oidc crash-operator bench-operator bench-rotation bench-pipeline bench-ingest-memory bench-console lint crds images cluster-up cluster-down cluster-status clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## From an empty machine to an error in the console, in a local Kubernetes (root)
	@hack/demo.sh

demo-down: ## End the demo and its cluster
	@hack/demo-down.sh

test: ## All tests: unit, health, Postgres, cluster (root for the last)
	@hack/test.sh

test-unit: ## Pure code
	@hack/test.sh unit

test-fuzz: ## Random input for what strangers' bytes reach first, a minute (FUZZ_SECONDS)
	@hack/test-fuzz.sh

test-grouping: ## Which events are one issue and which are two, pair by pair
	@hack/test-grouping.sh

test-scrub: ## Planted secrets go and harmless texts stay, beside what Relay's library makes of them
	@hack/test-scrub.sh

test-health: ## What kstatus, Argo CD and the alerts make of every state
	@hack/test.sh health

test-alerts: ## Each alert of the chart fires when it must, and only then
	@hack/alert-tests.sh

test-first-day: ## The mistakes of a first day, and what each is told, in a cluster of its own (root)
	@hack/test-first-day.sh

test-hostile: ## What one tenant does to hurt the others, in a cluster of its own, and how it is held (root)
	@hack/test-hostile.sh

test-backends: ## Keys in Sentry and GitLab with every fault of such servers, in a cluster of its own (root)
	@hack/test-backends.sh

test-runner: ## Runners of every generation through a rotation of their keys, in a cluster of its own, a quarter of an hour (root)
	@hack/test-runner.sh

test-clock: ## The clock of an ingest process is set a day ahead and back while it receives: nothing is quarantined, no limit freezes
	@hack/test-clock.sh

test-runner-doubles: ## Our doubles of GitLab Runner have its wire formats and its rules of reload, four generations
	@hack/test-runner-doubles.sh

test-rotation: ## Rotate a key under load of real SDKs, in a cluster of its own: nothing is lost (root)
	@hack/test-rotation.sh

test-holders: ## Every way to hold a key through a rotation, in a cluster of its own: no first event is refused (root)
	@hack/test-holders.sh

test-network-policies: ## Which links the NetworkPolicies leave open, in a cluster of its own that enforces them (root)
	@hack/test-network-policies.sh

test-postgres: ## Against a real Postgres that the tests start
	@hack/test.sh postgres

test-cluster: ## In a real Kubernetes (root; KEEP_CLUSTER=1 leaves it up)
	@hack/test.sh cluster

sdk-matrix: ## 18 Sentry SDKs, old and new, send to a running ingest server (Debian packages: root)
	@hack/sdk-matrix.sh

test-browser: ## The demo's console in chromium: sign-in, triage by keys, hostile events, axe, without JavaScript (root)
	@hack/test-browser.sh

test-oidc: ## Sign-in to the console at a real OpenID provider, npm's oidc-provider, on loopback
	@hack/test-oidc.sh

crash-operator: ## Kill the operator at every step of its plans, about 15 minutes (root)
	@hack/crash-operator.sh

bench-operator: ## Memory, times and requests with 10,000 keys, about 40 minutes (root)
	@hack/bench-operator.sh

bench-rotation: ## Time, API calls and statements of 1,000 keys that come due within a minute (root)
	@hack/bench-rotation.sh

bench-pipeline: ## What one event costs from the body to the group, on one core
	@hack/bench-pipeline.sh

bench-console: ## Time of the console's pages and its memory, with 1,000,000 events of 10,000 errors, about 10 minutes
	@hack/bench-console.sh

bench-ingest-memory: ## Peak memory of an ingest process under seven attacks on it, and whether a good client is served
	@hack/bench-ingest-memory.sh

lint: ## Formatting, clippy, who names whom, CRDs current, chart, scripts, dependencies
	@hack/lint.sh

crds: ## Write crds/ and the chart's copies from the types
	@hack/crds.sh

images: ## The operator's image to push, from the release profile, as an OCI archive
	@hack/prerequisites.sh build cluster
	@hack/images.sh release

cluster-up: ## A one-node Kubernetes (NAME=test; root)
	@hack/cluster.sh up --name $(NAME)

cluster-down: ## End it; nothing of it is left on the machine (NAME=test)
	@hack/cluster.sh down --name $(NAME)

cluster-status: ## Components, node and pods (NAME=test)
	@hack/cluster.sh status --name $(NAME)

clean: ## Remove what was built here; the cache of Kubernetes and images stays
	@echo "removing $${CARGO_TARGET_DIR:-target}"
	@cargo clean
