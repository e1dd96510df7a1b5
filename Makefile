# Two commands do all set-up on a Debian machine with Go: `make demo` and
# `make test`. Neither touches this machine's disks, volumes or domains: what
# needs a real host runs in a test host, a Linux kernel as an ordinary process.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      := CGO_ENABLED=0 go
CACHE   := $(CURDIR)/.cache
LINT    := $(CACHE)/bin/golangci-lint
NFPM    := $(CACHE)/bin/nfpm
ROUNDS  ?= 5
PREFIX  ?= /usr/local
LDFLAGS ?=
# Where zsh looks: vendor-completions on Debian, site-functions on most others.
ZSH     ?= vendor-completions
UNITS   := $(wildcard packaging/systemd/*)

.PHONY: build test unit corpus e2e crash crash-share lint demo bench bench-images bench-plan shell-testhost setup install packages clean

build:
	$(GO) build -trimpath -ldflags "$(strip -X main.version=$(VERSION) $(LDFLAGS))" -o bin/vmmigrate ./cmd/vmmigrate

# Hosts wait as much as they work: the crash tests run beside the others. What a
# test is skipped without is installed here, and a test sees to that.
test: export NO_SKIP := 1
test: setup unit corpus
	$(MAKE) -j2 e2e crash-share

# What draws its cases draws the same ones each time, so that a red run is the
# change's doing; SEED=0 draws others, and prints which when it fails.
SEED ?= 1
DRAWN = $(shell go list -f '{{range .TestImports}}{{if eq . "pgregory.net/rapid"}}{{$$.ImportPath}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "pgregory.net/rapid"}}{{$$.ImportPath}}{{end}}{{end}}' ./...)
unit:
	go test $(filter-out $(DRAWN),$(shell go list ./...))
	go test $(DRAWN) -rapid.seed=$(SEED)
	go test -count=1 -tags mutation -run Mutation ./blockcopy

# libvirt's own domain files, some four thousand, fetched as Debian's source,
# and virt-clone beside us on the same documents.
corpus: setup
	sh domainxml/corpus/fetch.sh
	go test -count=1 -tags corpus,virtclone ./domainxml

# Everything real: LVM, dm-crypt, libvirtd and QEMU in test hosts.
e2e: setup
	go test -tags e2e -count=1 -timeout 60m $(filter-out %/crash %/inside,$(shell go list -tags e2e ./e2e/...))

# The plug pulled at every instant of a job, every disk that fails, every daemon
# that hangs. All of it takes twenty minutes of two quiet processors, so it is a
# tier of its own.
crash: setup
	go test -tags e2e -count=1 -timeout 180m -v ./e2e/crash

# A sixteenth of it, the same one each time, so that a red run is the change's doing,
# and one of each kind. `make crash-share CRASH_SEED=2` tries another.
CRASH_SEED ?= 1
CRASH_SHARE ?= 16
crash-share: setup
	go test -tags e2e -count=1 -timeout 90m ./e2e/crash -crash.share=$(CRASH_SHARE) -crash.seed=$(CRASH_SEED) -crash.summary=$(CACHE)/crash-summary
	cat $(CACHE)/crash-summary

lint: $(LINT)
	go vet ./...
	go vet -tags e2e ./...
	$(LINT) fmt --diff
	$(LINT) run

.PHONY: linter
linter: $(LINT)

$(LINT): tools/go.mod
	mkdir -p $(@D)
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

demo: setup build
	go run ./e2e/cmd/testhost demo

shell-testhost: setup build
	go run ./e2e/cmd/testhost shell

# Loop devices as fast as memory, the same held to a disk's speed, dm-crypt in
# the test host, and what a run costs beside copying; docs/PERFORMANCE.md tells
# how to read it. Twenty minutes on two quiet processors.
bench: setup build
	$(GO) build -o $(CACHE)/bin/bench ./bench
	$(CACHE)/bin/bench -rounds $(ROUNDS)
	$(CACHE)/bin/bench -rounds $(ROUNDS) -size 512MiB -rate 500MB -memory=false
	go run ./e2e/cmd/testhost run -quiet -program $(CACHE)/bin/bench -- bench -crypt -rounds $(ROUNDS) -size 128MiB -memory=false
	go run ./e2e/cmd/testhost cost
	$(MAKE) bench-images bench-plan

# Images that are read beside qemu-img.
bench-images: setup
	$(GO) run ./bench -images -size 512MiB

# Two hundred domains, planned.
bench-plan: setup
	go test -tags e2e -count=1 -v -run 'TwoHundred|Hangs' ./e2e/batch

setup:
	sh e2e/setup.sh

# DESTDIR and PREFIX as everywhere. The udev rule and the units go where udev and
# systemd look for them, whatever the prefix.
install: build
	install -D -m 0755 bin/vmmigrate "$(DESTDIR)$(PREFIX)"/sbin/vmmigrate
	install -d "$(DESTDIR)$(PREFIX)"/share/man/man8 "$(DESTDIR)$(PREFIX)"/share/doc/vmmigrate/how-to
	install -m 0644 packaging/man/*.8 "$(DESTDIR)$(PREFIX)"/share/man/man8/
	install -D -m 0644 packaging/completion/vmmigrate.bash "$(DESTDIR)$(PREFIX)"/share/bash-completion/completions/vmmigrate
	install -D -m 0644 packaging/completion/_vmmigrate "$(DESTDIR)$(PREFIX)"/share/zsh/$(ZSH)/_vmmigrate
	install -D -m 0644 packaging/completion/vmmigrate.fish "$(DESTDIR)$(PREFIX)"/share/fish/vendor_completions.d/vmmigrate.fish
	install -m 0644 docs/*.md docs/*.json "$(DESTDIR)$(PREFIX)"/share/doc/vmmigrate/
	install -m 0644 docs/how-to/*.md "$(DESTDIR)$(PREFIX)"/share/doc/vmmigrate/how-to/
	install -D -m 0644 packaging/lvm/vmmigrate-filter.conf "$(DESTDIR)$(PREFIX)"/share/doc/vmmigrate/examples/lvm-filter.conf
	install -D -m 0644 packaging/udev/57-vmmigrate.rules "$(DESTDIR)/usr/lib/udev/rules.d/57-vmmigrate.rules"
	install -d "$(DESTDIR)/usr/lib/systemd/system"
	for unit in $(UNITS); do \
		sed 's|/usr/sbin/vmmigrate|$(PREFIX)/sbin/vmmigrate|' "$$unit" >"$(DESTDIR)/usr/lib/systemd/system/$${unit##*/}"; \
		chmod 0644 "$(DESTDIR)/usr/lib/systemd/system/$${unit##*/}"; \
	done

# dist/*.deb and dist/*.rpm, the same bytes from the same commit.
packages: $(NFPM)
	@packaging/packages.sh $(NFPM)

.PHONY: packager
packager: $(NFPM)

$(NFPM): tools/nfpm/go.mod
	mkdir -p $(@D)
	$(GO) build -modfile=tools/nfpm/go.mod -o $@ github.com/goreleaser/nfpm/v2/cmd/nfpm

clean:
	rm -rf bin dist .cache
