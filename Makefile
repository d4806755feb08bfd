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

.PHONY: demo
demo: bin/ringside $(PROMETHEUS) bin/ledger bin/demo ## three pairs of Prometheus and Ringside to play with
	@bin/demo --prometheus=$(abspath $(PROMETHEUS)) --rules=examples/ledger/alerts.yml $(DEMOFLAGS)

.PHONY: test
test: vet lint unit rules e2e ## all checks and tests; without Docker

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
	CGO_ENABLED=$${race:+1} .ci/quietly $(GO) test $$race $(TESTFLAGS) $$($(GO) list ./... | grep -v '/e2e$$'); status=$$?; \
	[ -z "$$race" ] || echo "gossip without it, for the simulations that the race detector bears only in part"; \
	[ -z "$$race" ] || .ci/quietly $(GO) test $(TESTFLAGS) ./gossip || status=1; \
	exit $$status

.PHONY: rules
rules: bin/promtool ## check and test the example's alert rules
	@echo "alert rules"
	@bin/promtool check rules examples/ledger/alerts.yml
	@bin/promtool test rules examples/ledger/alerts_test.yml

.PHONY: e2e
e2e: bin/ringside $(PROMETHEUS) $(THANOS) $(VERSITYGW) ## end-to-end scenarios with real servers; RUN=TestDrain for one
	@echo "end-to-end scenarios, about 10 minutes"
	@RINGSIDE=$(CURDIR)/bin/ringside PROMETHEUS=$(abspath $(PROMETHEUS)) THANOS=$(abspath $(THANOS)) VERSITYGW=$(abspath $(VERSITYGW)) \
	  .ci/quietly $(GO) test -v -count=1 -timeout=20m -parallel=4 $(if $(RUN),-run='$(RUN)') ./e2e

.PHONY: bench
bench: bin/ringside ## benchmarks, each with what it is compared with in the same run; RUN=Relay for some
	@$(GO) test -run='^$$' -bench='$(or $(RUN),.)' -benchmem ./scrape/... ./relay/...
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
