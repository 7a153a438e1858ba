# make run   build, then trace a sample session
# make test  build, then check everything
# Both install what is missing, where apt-get and root are there to do it.

TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY := target/release/exectrace
PACKAGES := clang gcc libc6-dev libelf-dev make pkg-config zlib1g-dev
TEST_PACKAGES := bsdutils clang-format strace util-linux

.PHONY: run build test lint fmt deps test-deps clean

run: build
	$(BINARY) --log-format text run --tree -- sh examples/session.sh

build: deps
	cargo build --release --locked
	@ln -f target/$(TRIPLE)/release/exectrace $(BINARY) 2>/dev/null || cp target/$(TRIPLE)/release/exectrace $(BINARY)

test: test-deps build lint
	cargo test --workspace --locked -- --test-threads=1

lint: test-deps
	cargo fmt --all --check
	clang-format --dry-run --Werror crates/exectrace/bpf/*.[ch]
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all
	clang-format -i crates/exectrace/bpf/*.[ch]

deps:
	@scripts/install-packages $(PACKAGES)

test-deps: deps
	@scripts/install-packages $(TEST_PACKAGES)

clean:
	cargo clean
