# make run           build, then trace a sample session
# make test          build, then check everything
# make image         an OCI archive of the image, in target/image
# make test-charts   the Helm chart and the Terraform example, without a cluster
# make test-kernels  the kernel tests on other kernels, in virtual machines (docs/kernels.md)
# make fuzz          build, then fuzz each target for FUZZ_SECONDS (60)
# make bench         build, then measure what tracing costs here, beside other tools
# All install what is missing, where apt-get and root are there to do it.

TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY := target/release/exectrace
# What kubectl calls for `kubectl exectrace`.
PLUGIN := target/release/kubectl-exectrace
PACKAGES := clang gcc libc6-dev libelf-dev make pkg-config zlib1g-dev
FUZZ_PACKAGES := g++
IMAGE_PACKAGES := buildah
TEST_PACKAGES := bsdutils buildah busybox-static clang-format conmon podman runc strace util-linux
CHART_PACKAGES := python3 python3-venv
KERNEL_PACKAGES := binutils bsdutils cpio debian-archive-keyring qemu-system-x86 util-linux
BENCH_PACKAGES := auditd bpftrace libbpf-tools util-linux
FIGURES := target/bench

.PHONY: run build image test test-charts test-kernels kernels-doc fuzz bench bench-docs lint fmt deps test-deps chart-deps kernel-deps clean

run: build
	$(BINARY) --log-format text run --tree -- sh examples/session.sh

build: deps
	cargo build --release --locked
	@ln -f target/$(TRIPLE)/release/exectrace $(BINARY) 2>/dev/null || cp target/$(TRIPLE)/release/exectrace $(BINARY)
	@ln -f $(BINARY) $(PLUGIN)

image: build
	@scripts/install-packages $(IMAGE_PACKAGES)
	scripts/build-image $(BINARY) target/image/exectrace.tar

test: test-deps chart-deps build lint
	@tests/counterparts/prepare
	cargo test --workspace --locked -- --test-threads=1
	tests/charts/run

# UPDATE=1 writes the golden files anew.
test-charts: chart-deps
	@tests/charts/run

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

# TESTS=all runs every kernel test, REFRESH=1 looks for newer kernels, RUNS="6.1 5.10" makes only these.
test-kernels: kernel-deps
	@tests/kernels/run $(TESTS)

# Puts the table of the last make test-kernels into docs/kernels.md.
kernels-doc:
	@tests/kernels/document

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

chart-deps:
	@scripts/install-packages $(CHART_PACKAGES)

kernel-deps: deps
	@scripts/install-packages $(KERNEL_PACKAGES)

clean:
	cargo clean
