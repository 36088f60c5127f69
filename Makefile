# SPDX-License-Identifier: Apache-2.0
# Copyright the calico-libnetwork authors

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
DESTDIR ?=
TARGET = $(DESTDIR)$(PREFIX)
BINARY := .build/calico-libnetwork
SIZE_LIMIT := 40000000
# The toolchain exports every symbol of a static program (static-stdlib-args.lnk), which costs 5 MB and serves nobody.
RELEASE := -c release --static-swift-stdlib -Xlinker --no-export-dynamic
FORMATTED := Package.swift Sources Tests Benchmarks

.PHONY: help demo test test-engines build plugin bench format lint install clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## see it work: an engine, two Calico networks, containers that talk, in a lab that cleans up after itself
	@scripts/demo

test: ## install what is missing and run the whole suite (as root; FILTER=SystemTests runs a part)
	@scripts/prerequisites test
ifdef FILTER
	swift test --disable-xctest --filter '$(FILTER)'
else
	swift build --build-tests
	@# One after the other: floods of packets, or both cores at work, would starve the tests that wait for milliseconds.
	swift test --skip-build --disable-xctest --skip '(System|Simulation|Datastore|Dataplane|LibnetworkPlugin)Tests'
	for suite in LibnetworkPlugin Dataplane Simulation Datastore; do \
		swift test --skip-build --disable-xctest --filter $${suite}Tests; \
	done
	@# Both kinds of hosts, and both datastores.
	@scripts/test-engines 20.10/on 20.10/off/etcd
endif

test-engines: ## run the system suite on engines 20.10, 26.1 and 28.5, hosts with IPv6 and without (as root; ENGINES=28.5, or 28.5/off)
	@scripts/prerequisites test
	swift build --build-tests
	@scripts/test-engines $(ENGINES)

build: ## build the stripped release program, .build/calico-libnetwork
	@scripts/prerequisites build
	swift build $(RELEASE) --product calico-libnetwork
	@strip -o $(BINARY) "$$(swift build $(RELEASE) --show-bin-path)/calico-libnetwork"
	@size=$$(stat -c %s $(BINARY)); \
	printf '%s: %d.%d MB\n' $(BINARY) $$((size / 1000000)) $$((size / 100000 % 10)); \
	[ $$size -lt $(SIZE_LIMIT) ] || { echo "the program is larger than $(SIZE_LIMIT) bytes" >&2; exit 1; }

plugin: build ## make the managed plugin of the program, offline: .build/plugin, for 'docker plugin create'
	@scripts/prerequisites plugin
	@scripts/plugin $(BINARY) .build/plugin

bench: build ## measure in a lab: requests, throughput, containers, memory, starts (BENCH="requests" for a part, --quick for a smoke test)
	@scripts/prerequisites test
	swift build $(RELEASE) --product calico-libnetwork-bench
	@CALICO_LIBNETWORK_BINARY=$(BINARY) scripts/bench "$$(swift build $(RELEASE) --show-bin-path)/calico-libnetwork-bench" \
		$(BENCH)

format: ## format the Swift sources in place
	swift format format --in-place --recursive --parallel $(FORMATTED)

lint: ## check formatting, licence headers and imports
	@scripts/lint $(FORMATTED)

install: ## copy the built program, its man page, completions and systemd service to $(DESTDIR)$(PREFIX)
	@test -x $(BINARY) || { echo "there is no $(BINARY) yet: run 'make build' first" >&2; exit 1; }
	install -D -m 0755 $(BINARY) $(TARGET)/bin/calico-libnetwork
	install -D -m 0644 packaging/calico-libnetwork.8 $(TARGET)/share/man/man8/calico-libnetwork.8
	install -D -m 0644 packaging/libnetwork.yaml $(TARGET)/share/doc/calico-libnetwork/libnetwork.yaml
	sed 's|/usr/local/bin|$(PREFIX)/bin|' packaging/calico-libnetwork.service \
		| install -D -m 0644 /dev/stdin $(TARGET)/lib/systemd/system/calico-libnetwork.service
	$(BINARY) --generate-completion-script bash \
		| install -D -m 0644 /dev/stdin $(TARGET)/share/bash-completion/completions/calico-libnetwork
	$(BINARY) --generate-completion-script zsh \
		| install -D -m 0644 /dev/stdin $(TARGET)/share/zsh/site-functions/_calico-libnetwork
	$(BINARY) --generate-completion-script fish \
		| install -D -m 0644 /dev/stdin $(TARGET)/share/fish/vendor_completions.d/calico-libnetwork.fish

clean: ## remove everything built
	rm -rf .build
