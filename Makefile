# make run   build, then trace a sample session
# make test  build, then check everything
# make bench build, then measure what tracing costs here, beside other tools
# make fuzz  build, then fuzz each target for FUZZ_SECONDS (60)
# They install what is missing, where apt-get and root are there to do it.

TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY := target/release/exectrace
PACKAGES := clang gcc libc6-dev libelf-dev make pkg-config zlib1g-dev
FUZZ_PACKAGES := g++
TEST_PACKAGES := bsdutils clang-format strace util-linux

BENCH_PACKAGES := auditd bpftrace libbpf-tools util-linux
FIGURES := target/bench

.PHONY: run build test fuzz bench bench-docs lint fmt deps test-deps clean

run: build
	$(BINARY) --log-format text run --tree -- sh examples/session.sh

build: deps
	cargo build --release --locked
	@ln -f target/$(TRIPLE)/release/exectrace $(BINARY) 2>/dev/null || cp target/$(TRIPLE)/release/exectrace $(BINARY)

test: test-deps build lint
	cargo test --workspace --locked -- --test-threads=1

bench: build
	@scripts/install-packages $(BENCH_PACKAGES)
	@mkdir -p $(FIGURES)
	$(BINARY) --log-format text bench --json $(FIGURES)/figures.json >$(FIGURES)/tables.md
	@cat $(FIGURES)/tables.md

# Measures anew, and puts it into docs/benchmarks.md and docs/benchmarks.svg.
bench-docs: bench
	cargo run --quiet --locked -p exectrace-cli --example bench_docs -- \
		$(FIGURES)/figures.json $(FIGURES)/tables.md docs/benchmarks.md docs/benchmarks.svg

fuzz: deps
	@scripts/install-packages $(FUZZ_PACKAGES)
	fuzz/run

lint: test-deps
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	clang-format --dry-run --Werror crates/exectrace/bpf/*.[ch]
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	clang-format -i crates/exectrace/bpf/*.[ch]

deps:
	@scripts/install-packages $(PACKAGES)

test-deps: deps
	@scripts/install-packages $(TEST_PACKAGES)

clean:
	cargo clean
