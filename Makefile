# make demo      two real databases, one log, verdicts, repairs: a minute's look
# make test      everything that has to pass, as .ci/run calls it
# make lint      the static part of it
# make races     an application's write against a repair, 1,000 times on each engine
# make bench     one JSON line per benchmark; BENCH=prefix chooses, BENCH_FLAGS="-profile DIR" profiles;
#                BENCH=peers fetches Debezium and runs beside it
# make crash     killed at every hit of every crash site; SITES=regexp chooses some, all of them can take hours
# make group     a group of comparators on three nodes of Kafka: killed, paused, added and removed, with a node killed, too
# make huge      one transaction of ROWS rows, streamed and not; resident memory
# make rollout   two services from off to complete on both databases, with a fault in every stage; make test has two of them
# make zoo       bugs that such programs had, put in one at a time: a named test has to fail; ZOO=z4 chooses
# make baseline-campaign  ROWS rows read beside writers, then compared with SELECT; resident memory
# make sim       the whole pipeline from SEEDS seeds on SIM_WORKERS cores, and from as many with hand-overs; make test has a sample of it
# make subscribers  the examples of subscribers against a Trueup and a broker that are killed; Kafka, too
# make fuzz      every fuzz test for FUZZTIME each; FUZZ=regexp chooses
# make generate  generated code, from its sources
# make build     bin/trueup, static
# make clean     what the above left in this directory

GO        ?= go
BENCH     ?=
BENCH_FLAGS ?=
FUZZ      ?= .
SITES     ?= .
ROWS      ?= 10000000
FUZZTIME  ?= 30s
SEEDS     ?= 10000
SIM_WORKERS ?= 2
DEMO_FLAGS ?=
# The slowest package has minutes to spare on two cores; a hang still ends.
TEST_TIMEOUT ?= 20m
# Packages tested at a time: each may run a database and a JVM beside itself.
TEST_PARALLEL ?= 2

# Tools are built from the versions that tools/go.mod pins, once.
TOOLS := .cache/bin
TOOL  := $(TOOLS)/.built

.DELETE_ON_ERROR:
.PHONY: demo build test lint bench races crash group huge zoo baseline-campaign fuzz generate clean sim subscribers rollout

demo:
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	bin/trueup demo $(DEMO_FLAGS)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/trueup ./cmd/trueup

test:
	@scripts/setup test
	@$(MAKE) --no-print-directory lint
	$(GO) test -race -timeout $(TEST_TIMEOUT) -p $(TEST_PARALLEL) ./...
	@$(MAKE) --no-print-directory zoo

lint: $(TOOL)
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt -w:" $$unformatted; exit 1; }
	$(GO) vet ./...
	cd tools && $(GO) test ./...
	$(GO) vet -vettool=$(CURDIR)/$(TOOLS)/purecore ./reconcile
	$(TOOLS)/staticcheck ./...
	GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/golangci-lint $(TOOLS)/golangci-lint run ./... # its cache knows files by content, and our rules by path
	scripts/vulncheck $(TOOLS)/govulncheck

races:
	TRUEUP_RACES=1000 $(GO) test -count=1 -timeout $(TEST_TIMEOUT) -p 1 -v -run '^TestApplier$$/^Races$$' ./compensate/postgres ./compensate/mysql

bench:
	@mkdir -p .cache
	@# As the product is linked: with cgo, Pebble takes its memory elsewhere.
	CGO_ENABLED=0 $(GO) build -o .cache/bench ./bench
	@# What was just linked lies in the page cache in large pieces, which are mapped whole: read it as one that was installed.
	@dd of=.cache/bench oflag=nocache conv=notrunc,fdatasync count=0 status=none
	.cache/bench -bench "$(BENCH)" $(BENCH_FLAGS)

crash:
	@scripts/setup test
	TRUEUP_CRASH_ALL=1 TRUEUP_CRASH_SITES='$(SITES)' $(GO) test -count=1 -timeout 60m -v -p 1 -run 'KilledAtEverySite' ./capture/postgres ./capture/mysql ./compensate/postgres ./compensate/mysql

group:
	@scripts/setup test
	TRUEUP_REQUIRE_ALL=1 TRUEUP_GROUP=1 $(GO) test -race -count=1 -timeout 20m -v -run 'I19' ./stream ./reconcile/runner

huge:
	@scripts/setup test
	TRUEUP_HUGE_ROWS=$(ROWS) $(GO) test -count=1 -timeout 60m -v -p 1 -run '^TestI20_MemoryOfAHugeTransaction$$' ./capture/postgres ./capture/mysql

zoo:
	GO="$(GO)" scripts/zoo $(ZOO)

baseline-campaign:
	@scripts/setup test
	$(GO) test -count 1 -timeout 60m -v -run TestI10_BaselineCampaign ./capture/postgres -baseline-rows $(ROWS)

sim:
	$(GO) test -count=1 -timeout 60m -v -run 'TestSeeds$$|HandOverSeeds$$' ./sim -sim.seeds $(SEEDS) -sim.handovers $(SEEDS) -sim.workers $(SIM_WORKERS)

rollout:
	@scripts/setup test
	TRUEUP_ROLLOUT_WHOLE=1 $(GO) test -count=1 -timeout 20m -v -run '^TestTwoServicesFromOffToComplete$$' ./cmd/trueup

subscribers:
	@scripts/setup test
	TRUEUP_REQUIRE_ALL=1 TRUEUP_SUBSCRIBE_KAFKA=1 $(GO) test -count=1 -timeout 20m -v -run '^TestEveryDivergenceOnceByID$$' ./examples/subscribe

fuzz:
	scripts/fuzz "$(FUZZTIME)" "$(FUZZ)"

generate: $(TOOL)
	@command -v protoc >/dev/null || { echo "generate: protoc is missing (Debian: protobuf-compiler)"; exit 1; }
	PATH="$(CURDIR)/$(TOOLS):$$PATH" $(GO) generate ./...

clean:
	rm -rf bin .cache

$(TOOL): tools/go.mod tools/go.sum $(wildcard tools/*/*.go tools/*/*/*.go)
	@mkdir -p $(TOOLS)
	cd tools && GOBIN=$(CURDIR)/$(TOOLS) $(GO) install tool ./...
	@touch $@
