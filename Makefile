# `make` lists the targets. On a fresh Debian 12 with Go, make and apt, `make demo` and `make test`
# install what else they need.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 10s

export GO

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pgctl, one static binary
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags '-s -w -X main.release=$(VERSION)' \
		-o bin/pgctl ./cmd/pgctl

.PHONY: demo
demo: ## show it: three hosts on this machine, one dies, no row is lost
	@scripts/install-postgres
	@$(MAKE) --no-print-directory build
	bin/pgctl dev demo

.PHONY: test
test: ## install what tests need, then static checks, then all tests
	@deps=$$(scripts/install-test-deps) && export PGCTL_TEST_POSTGRES="$$deps" && scripts/lint && scripts/test

.PHONY: lint
lint: ## static checks only
	@scripts/lint

.PHONY: format
format: ## put the formatting of all Go files right
	@$(GO) tool -modfile=tools/go.mod gofumpt -w .

.PHONY: bench
bench: ## measure the store beside etcd (see docs/benchmarks.md)
	@etcd=$$(scripts/install-etcd) && $(MAKE) --no-print-directory build && \
		cd lab/bench && $(GO) vet . && $(GO) run . -pgctl ../../bin/pgctl -etcd "$$etcd" $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
