# The two commands: `make demo` and `make test`. `make help` lists the others.

SHELL := /bin/bash
CARGO ?= cargo
TARGET := x86_64-unknown-linux-gnu
DIST := target/dist
RUNTIME_MANIFEST ?= runtime-bundle.toml
export PREFIX DESTDIR BUNDLE

.PHONY: help demo test test-full test-long screenshots setup build guest rootfs runtime-bundle runtime-package lint test-unit test-root test-boot lab lab-full lab-shell bench install uninstall deb clean

help: ## Lists what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: ## Makes a VM and runs a command in it, from nothing
	@tools/demo

test: ## Runs every test that this machine can, and counts the others as skipped
	@tools/test

test-full: ## The same, with the tests that take long: real VMs and the whole host lab
	@BANGER_TEST_FULL=1 BANGER_LAB_FULL=1 tools/test

test-long: ## Only the tests that take long or need registries, such as real builds of images
	@tools/test long

screenshots: ## Writes the pictures of docs/tui.md, from a simulated host
	@cargo build --quiet --workspace
	@cargo test --quiet --package banger --test cli -- --ignored tui::screenshots

setup: ## Installs the system packages that banger needs
	@tools/setup

guest: ## Builds the static guest program
	@RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --quiet -p banger-guest --bin banger-guest --profile guest --target $(TARGET)
	@mkdir -p $(DIST)
	@install -m 755 target/$(TARGET)/guest/banger-guest $(DIST)/banger-guest

build: guest ## Builds everything into target/dist
	@$(CARGO) build --locked --quiet --release -p banger -p bangerd -p banger-mcp -p banger-host
	@mkdir -p $(DIST)
	@install -m 755 target/release/banger target/release/bangerd target/release/banger-mcp target/release/banger-root $(DIST)/

rootfs: build ## Makes the bundle from Debian's packages, where VMs take it from
	@$(DIST)/banger bundle build

runtime-bundle: build ## Fetches the bundle that RUNTIME_MANIFEST names (default runtime-bundle.toml) into ./runtime
	@$(DIST)/banger bundle fetch --manifest '$(RUNTIME_MANIFEST)' --dir runtime

runtime-package: build ## Packs the bundle into dist/banger-runtime.tar.gz
	@$(DIST)/banger bundle package

lint: ## Format, clippy with warnings denied, licences and sources
	@tools/lint

test-unit: ## Levels 1 to 3: pure, on the simulated host, the CLI
	@tools/test unit

test-root: ## Level 4: the real host in namespaces of its own
	@tools/test root

test-boot: ## Level 5: real VMs
	@tools/test boot

lab: ## Level 6: a QEMU guest that is the host, the short part (FIRECRACKER=FILE adds its lane)
	@tools/test lab

lab-full: ## Level 6 whole, with the power cuts
	@BANGER_LAB_FULL=1 tools/test lab

lab-shell: build ## A shell in the host lab (LAB_USER=ada for an ordinary user's)
	@tools/setup lab
	@tools/lab shell $(LAB_USER)

bench: build ## Measures, and prints the table of docs/performance.md
	@tools/bench

install: build ## Installs into PREFIX (default ~/.local): programs, bundle, man pages, completion
	@tools/install install

uninstall: ## Removes what `make install` put into PREFIX; VMs and their files stay
	@tools/install uninstall

deb: build ## Makes the Debian package, in target/deb
	@tools/deb

clean: ## Removes what was built
	@$(CARGO) clean
