# `make` lists the targets. On a fresh Debian 12 with Go, make and apt, `make demo` and `make test`
# install what else they need.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 10s
SEEDS   ?= 2000
FROM    ?= 1

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

.PHONY: facts
facts: ## try on every PostgreSQL here what the protocol takes for true; prints a table
	@deps=$$(scripts/install-test-deps) && export PGCTL_TEST_POSTGRES="$$deps" && scripts/facts

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

.PHONY: lab
lab: build ## boot several real hosts on this machine (root; see lab/DESIGN.md)
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o bin/lab ./lab/cmd/lab
	@scripts/install-lab && bin/lab up && bin/lab status

.PHONY: lab-test
lab-test: ## play all fault scenarios on such hosts, half an hour; PGCTL_LAB chooses
	@scripts/install-lab && PGCTL_LAB="$${PGCTL_LAB:-all}" $(GO) test ./lab/scenario -count=1 -v -timeout 3h

.PHONY: bench-failover
bench-failover: build ## the same faults under pgctl, Patroni and pg_auto_failover (docs/benchmarks.md); hours
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o bin/compare ./lab/compare
	@scripts/install-lab && bin/compare $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: sim
sim: ## take random walks through the failover simulator: SEEDS=2000 FROM=1
	@$(GO) run ./node/ha/sim/cmd -seeds $(SEEDS) -from $(FROM)

.PHONY: explore
explore: ## search small worlds of the failover protocol exhaustively
	@$(GO) run ./node/ha/sim/explore/cmd

.PHONY: mutations
mutations: ## plant one bug after the other into the failover protocol, and see each of them found
	@$(GO) run -tags mutations ./node/ha/sim/mutations

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
