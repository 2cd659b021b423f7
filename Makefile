# Verbatim: two commands to know, `make run` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := target/python

FUZZ_SECONDS ?= 600
PREFIX ?= /usr/local

.PHONY: run build test golden fuzz bench-record check build-tools test-tools install bench bench-smoke bench-inner

# Builds the server and starts it on the embedded store, with nothing configured.
run: build
	./target/release/verbatim serve $(FLAGS)

build: build-tools
	cargo build --release --locked

# Installs the program, also as kubectl's plugin and its completion.
install: build
	install -D target/release/verbatim $(DESTDIR)$(PREFIX)/bin/verbatim
	ln -sf verbatim $(DESTDIR)$(PREFIX)/bin/kubectl-verbatim
	ln -sf verbatim $(DESTDIR)$(PREFIX)/bin/kubectl_complete-verbatim

# Runs everything, against real programs: etcd, kubectl, the Python client, kube-rs.
test: build-tools test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" .ci/test

# Plays the recorded exchanges with a real kube-apiserver; prints a line per topic.
golden: build-tools test-tools
	cargo build --locked
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" .ci/golden

# How fast the record is indexed and searched: prints a table with the targets.
bench-record: build
	./target/release/verbatim bench-record $(FLAGS)

# Fuzzes each decoder, patch and parser for FUZZ_SECONDS of a processor, one after the other
# (tests/fuzz/main.rs). A finding is kept below target/fuzz and fails; FUZZ_TARGETS limits it to names
# that contain a text.
fuzz: build-tools
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$$RANDOM nice -n 19 \
		cargo test --locked --profile fuzz --test fuzz -- --test-threads 1 --nocapture $(FUZZ_TARGETS)

# Measures the release server next to floors taken in the same run, about 12 minutes; see
# benches/load/main.rs. ROWS=get,list takes some rows, SAVE=benches/RESULTS.md keeps the table.
bench: build-tools test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo bench --locked --profile $(or $(PROFILE),bench) \
		--bench load -- --rows "$(ROWS)" $(if $(SAVE),--save "$(abspath $(SAVE))")

# Every row for a moment, unoptimised: whether the harness works.
bench-smoke: build-tools test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo bench --locked --profile dev --bench load -- --smoke

# The inner loops, without HTTP.
bench-inner: build-tools
	cargo bench --locked --bench inner

# What the gate checks before the tests.
check: build-tools
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

# protoc, for the etcd client.
build-tools:
	@.ci/install build

# etcd, kubectl and the Python client.
test-tools:
	@.ci/install test
