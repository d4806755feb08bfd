# Ringside is made with the go command alone: no C compiler, no Docker. `make
# help` lists what there is to make.

GO      ?= go
VERSION ?= $(or $(shell git describe --tags --dirty 2>/dev/null),0.1.0-dev)

# The Prometheus server of the demo and of the end-to-end tests, and the Thanos and
# the S3 server of the latter; others may be named:
# make e2e PROMETHEUS=/usr/local/bin/prometheus
PROMETHEUS ?= bin/prometheus
THANOS     ?= bin/thanos
VERSITYGW  ?= bin/versitygw

# How long make fuzz takes for each of its targets.
FUZZTIME ?= 20s

# One set of flags for building, checking and testing, so that nothing is
# compiled twice. Only the race detector needs C and a build of its own.
export CGO_ENABLED := 0
export GOFLAGS     := $(strip $(shell $(GO) env GOFLAGS) -trimpath)

BUILDINFO    := github.com/prometheus/common/version
LDFLAGS      := -s -w -X $(BUILDINFO).Version=$(VERSION) -X $(BUILDINFO).Revision=$(shell git rev-parse HEAD 2>/dev/null)
PROM_VERSION := 3.15.0
PROM_TAGS    := remove_all_sd,enable_dns_sd,enable_kubernetes_sd
PROM_LDFLAGS := -s -w -X $(BUILDINFO).Version=$(PROM_VERSION)

THANOS_VERSION := 0.42.4
THANOS_TAGS    := netgo,slicelabels
THANOS_LDFLAGS := -s -w -X $(BUILDINFO).Version=$(THANOS_VERSION)

AM_LDFLAGS      := -s -w -X $(BUILDINFO).Version=0.28.1
COMPOSE_LDFLAGS := -s -w -X github.com/docker/compose/v2/internal.Version=v2.40.3

# Docker images: their names, what they are built for, and where this machine
# keeps the certificates of the authorities that it trusts.
IMAGE           ?= ghcr.io/ringside-project/ringside
LEDGER_IMAGE    ?= ghcr.io/ringside-project/ledger
ARCHS           ?= amd64 arm64
CA_CERTIFICATES ?= $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem))

# The sources of examples/mixin, and how they are rendered into a directory.
MIXIN  = $(wildcard examples/mixin/*.*sonnet examples/mixin/*/*.libsonnet)
RENDER = --string --create-output-dirs --multi

# Empty where a C compiler with its library is missing: see unit.
HASH := \#
RACE  = $(shell printf '$(HASH)include <stdlib.h>\nint main(void) { return 0; }\n' | $$($(GO) env CC) -x c -o /dev/null - 2>/dev/null && echo -race)

.PHONY: build
build: bin/ringside ## build bin/ringside with the usual discoveries (the default)

.PHONY: build-full
build-full: ## build bin/ringside with every discovery of Prometheus
	@.ci/build bin/ringside -tags full -ldflags "$(LDFLAGS)" .

.PHONY: bin/ringside
bin/ringside:
	@.ci/build $@ -ldflags "$(LDFLAGS)" .

.PHONY: bin/ledger
bin/ledger: ## build the example target service
	@.ci/build $@ ./examples/ledger

.PHONY: bin/demo
bin/demo:
	@.ci/build $@ ./examples/demo

bin/prometheus bin/promtool: bin/%: .ci/prometheus/go.mod .ci/prometheus/go.sum ## build Prometheus's own programs
	@.ci/build -C .ci/prometheus $@ -tags $(PROM_TAGS) -ldflags "$(PROM_LDFLAGS)" github.com/prometheus/prometheus/cmd/$*
	@touch $@

bin/thanos: .ci/thanos/go.mod .ci/thanos/go.sum ## build Thanos, for the end-to-end tests
	@.ci/build -C .ci/thanos $@ -tags $(THANOS_TAGS) -ldflags "$(THANOS_LDFLAGS)" github.com/thanos-io/thanos/cmd/thanos
	@touch $@

bin/versitygw: .ci/s3/go.mod .ci/s3/go.sum ## build an S3 server, for the end-to-end tests
	@.ci/build -C .ci/s3 $@ github.com/versity/versitygw/cmd/versitygw
	@touch $@

bin/staticcheck bin/gofumpt: bin/%: .ci/lint/go.mod .ci/lint/go.sum
	@.ci/build -C .ci/lint $@ $(if $(filter gofumpt,$*),mvdan.cc/gofumpt,honnef.co/go/tools/cmd/staticcheck)
	@touch $@

bin/kustomize bin/kubectl-validate: bin/%: .ci/kubernetes/go.mod .ci/kubernetes/go.sum
	@.ci/build -C .ci/kubernetes $@ -ldflags "-s -w" sigs.k8s.io/$(if $(filter kustomize,$*),kustomize/kustomize/v5,kubectl-validate)
	@touch $@

bin/jsonnet bin/jsonnetfmt bin/jsonnet-lint: bin/%: .ci/jsonnet/go.mod .ci/jsonnet/go.sum
	@.ci/build -C .ci/jsonnet $@ github.com/google/go-jsonnet/cmd/$*
	@touch $@

bin/alertmanager: .ci/alertmanager/go.mod .ci/alertmanager/go.sum
	@.ci/build -C .ci/alertmanager $@ -tags netgo -ldflags "$(AM_LDFLAGS)" github.com/prometheus/alertmanager/cmd/alertmanager
	@touch $@

bin/docker-compose: .ci/compose/go.mod .ci/compose/go.sum ## build Docker Compose v2, for where there is none
	@.ci/build -C .ci/compose $@ -ldflags "$(COMPOSE_LDFLAGS)" github.com/docker/compose/v2/cmd
	@touch $@

.PHONY: FORCE
bin/linux-%/ringside: FORCE
	@GOOS=linux GOARCH=$* .ci/build $@ -ldflags "$(LDFLAGS)" .
bin/linux-%/ringside-full: FORCE
	@GOOS=linux GOARCH=$* .ci/build $@ -tags full -ldflags "$(LDFLAGS)" .
bin/linux-%/ledger: FORCE
	@GOOS=linux GOARCH=$* .ci/build $@ ./examples/ledger

# Another CA_CERTIFICATES may be older than the last one: contents are compared.
bin/ca-certificates.crt: FORCE
	@[ -n "$(CA_CERTIFICATES)" ] || { echo "no CA certificates found for the image: install ca-certificates, or say CA_CERTIFICATES=FILE"; exit 1; }
	@mkdir -p bin && cmp -s "$(CA_CERTIFICATES)" $@ || install -m 0644 "$(CA_CERTIFICATES)" $@

.PHONY: image
image: bin/ca-certificates.crt $(ARCHS:%=bin/linux-%/ringside) ## Docker images of each of ARCHS; PUSH=1 pushes them to IMAGE
	@.ci/image Dockerfile $(IMAGE):$(VERSION) "$(ARCHS)" --build-arg VERSION=$(VERSION)

.PHONY: image-full
image-full: bin/ca-certificates.crt $(ARCHS:%=bin/linux-%/ringside-full) ## the same with every discovery of Prometheus
	@.ci/image Dockerfile $(IMAGE):$(VERSION)-full "$(ARCHS)" --build-arg VERSION=$(VERSION) --build-arg FLAVOUR=-full

.PHONY: image-ledger
image-ledger: $(ARCHS:%=bin/linux-%/ledger) ## Docker images of the example target service
	@.ci/image examples/ledger/Dockerfile $(LEDGER_IMAGE):$(VERSION) "$(ARCHS)" --build-arg VERSION=$(VERSION)

# Its last line must not name MAKE: make would run it even with -n.
.PHONY: demo-images
demo-images: ## the images of examples/compose but Grafana's, without a registry; REPLACE=1: also what was pulled
	@[ "$$(uname -s)" = Linux ] || { echo "make demo-images puts binaries of this machine into images, so it needs Linux"; exit 1; }
	@$(MAKE) --no-print-directory image image-ledger ARCHS=$(shell $(GO) env GOARCH)
	@REPLACE="$(REPLACE)" .ci/demo-images examples/compose/compose.yaml $(IMAGE):$(VERSION) $(LEDGER_IMAGE):$(VERSION)

.PHONY: e2e-compose
e2e-compose: ## test the Compose demo, which needs Docker; COMPOSE=docker-compose for one, COMPOSE=each
	@GO="$(GO)" COMPOSE="$(COMPOSE)" .ci/e2e-compose

.PHONY: demo
demo: bin/ringside $(PROMETHEUS) bin/ledger bin/demo ## three pairs of Prometheus and Ringside to play with
	@bin/demo --prometheus=$(abspath $(PROMETHEUS)) --rules=examples/ledger/alerts.yml $(DEMOFLAGS)

.PHONY: test
test: vet lint unit rules manifests e2e ## all checks and tests; without Docker

.PHONY: vet
vet: ## go vet
	@echo "vet"
	@$(GO) vet ./...

.PHONY: lint
lint: bin/staticcheck bin/gofumpt ## staticcheck and gofumpt
	@echo "staticcheck"
	@bin/staticcheck ./...
	@echo "gofumpt"
	@list=$$(bin/gofumpt -l .) && [ -z "$$list" ] || { echo "run make fmt: not formatted:" $$list; exit 1; }

.PHONY: fmt
fmt: bin/gofumpt ## format all Go files
	@bin/gofumpt -w .

.PHONY: unit
unit: ## unit tests under the race detector, fuzz corpora included
	@race="$(RACE)"; \
	[ -n "$$race" ] && echo "unit tests under the race detector" || echo "unit tests WITHOUT the race detector, which needs a C compiler"; \
	CGO_ENABLED=$${race:+1} .ci/quietly $(GO) test $$race $(TESTFLAGS) $$($(GO) list ./... | grep -vE '/(e2e|examples/kubernetes)$$'); status=$$?; \
	[ -z "$$race" ] || echo "gossip without it, for the simulations that the race detector bears only in part"; \
	[ -z "$$race" ] || .ci/quietly $(GO) test $(TESTFLAGS) ./gossip || status=1; \
	exit $$status

.PHONY: rules
rules: bin/promtool bin/jsonnet bin/jsonnetfmt bin/jsonnet-lint ## check and test the examples' rules and dashboards
	@echo "alert rules"
	@bin/promtool check rules examples/ledger/alerts.yml
	@bin/promtool test rules examples/ledger/alerts_test.yml
	@echo "mixin"
	@bin/jsonnetfmt --test $(MIXIN) || { echo "run make mixin: not formatted"; exit 1; }
	@bin/jsonnet-lint $(MIXIN)
	@new=$$(mktemp -d) && trap 'rm -r "$$new"' EXIT && bin/jsonnet $(RENDER) "$$new" examples/mixin/render.jsonnet >/dev/null && \
	  diff -r "$$new" examples/mixin/rendered || { echo "run make mixin: examples/mixin/rendered is not what the sources make"; exit 1; }
	@bin/promtool check rules examples/mixin/rendered/*.yml examples/mixin/preaggregation.yml
	@bin/promtool test rules examples/mixin/tests/*.yml

.PHONY: mixin
mixin: bin/jsonnet bin/jsonnetfmt ## render dashboards, alerts and rules of examples/mixin
	@bin/jsonnetfmt --in-place $(MIXIN)
	@rm -rf examples/mixin/rendered
	@bin/jsonnet $(RENDER) examples/mixin/rendered examples/mixin/render.jsonnet

.PHONY: manifests
manifests: bin/ringside bin/promtool bin/kustomize bin/kubectl-validate $(PROMETHEUS) ## check the Kubernetes manifests, and run pods of them, without Kubernetes
	@echo "Kubernetes manifests"
	@RINGSIDE=$(CURDIR)/bin/ringside PROMTOOL=$(CURDIR)/bin/promtool PROMETHEUS=$(abspath $(PROMETHEUS)) KUSTOMIZE=$(CURDIR)/bin/kustomize \
	  KUBECTL_VALIDATE=$(CURDIR)/bin/kubectl-validate .ci/quietly $(GO) test -count=1 $(TESTFLAGS) ./examples/kubernetes

.PHONY: e2e
e2e: bin/ringside $(PROMETHEUS) $(THANOS) $(VERSITYGW) ## end-to-end scenarios with real servers; RUN=TestDrain for one
	@echo "the flush of a real Prometheus's head, and objstore's own tests with a real S3 server"
	@PROMETHEUS=$(abspath $(PROMETHEUS)) VERSITYGW=$(abspath $(VERSITYGW)) \
	  .ci/quietly $(GO) test -v -count=1 -run='$(or $(RUN),TestPrometheus|TestAcceptanceS3)' ./uploader/head ./uploader/bucket
	@echo "end-to-end scenarios, about 10 minutes"
	@RINGSIDE=$(CURDIR)/bin/ringside PROMETHEUS=$(abspath $(PROMETHEUS)) THANOS=$(abspath $(THANOS)) VERSITYGW=$(abspath $(VERSITYGW)) \
	  .ci/quietly $(GO) test -v -count=1 -timeout=20m -parallel=4 $(if $(RUN),-run='$(RUN)') ./e2e

.PHONY: screenshots
screenshots: bin/ringside $(PROMETHEUS) ## the pictures of the status page in docs/images, from a real fleet; needs Chromium
	@mkdir -p docs/images
	@RINGSIDE=$(CURDIR)/bin/ringside PROMETHEUS=$(abspath $(PROMETHEUS)) RINGSIDE_SCREENSHOTS=$(CURDIR)/docs/images \
	  .ci/quietly $(GO) test -v -count=1 -run='^TestStatusPage$$' ./e2e

.PHONY: bench
bench: bin/ringside $(VERSITYGW) ## benchmarks, each with what it is compared with in the same run; RUN=Relay for some
	@$(GO) test -run='^$$' -bench='$(or $(RUN),.)' -benchmem ./agent ./scrape/... ./relay/...
	@echo "uploads to a directory and to an S3 server, about a minute"
	@VERSITYGW=$(abspath $(VERSITYGW)) $(GO) test -run='^$$' -bench='$(or $(RUN),.)' -benchtime=1x -timeout=20m ./uploader/bucket
	@echo "the flush of the head of 1,000,000 series, about 5 minutes"
	@$(GO) test -run='^$$' -bench='$(or $(RUN),.)' -benchtime=1x -timeout=30m ./uploader/head
	@echo "the relay as a process, about 3 minutes"
	@RINGSIDE=$(CURDIR)/bin/ringside $(GO) test -run='^$$' -bench='$(or $(RUN),.)' -benchtime=1x -timeout=20m ./e2e

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@grep -rHo '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sed 's,/[^/]*:func , ,' | sort | while read -r package name; do \
	  echo "fuzz $$name of $$package for $(FUZZTIME)"; \
	  .ci/quietly $(GO) test -run='^$$' -fuzz="^$$name$$" -fuzztime=$(FUZZTIME) $$package </dev/null || exit 1; \
	done

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z].*:.*## / { printf "  %-28s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
