# make help lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
bindir = $(DESTDIR)$(PREFIX)/bin
mandir = $(DESTDIR)$(PREFIX)/share/man/man1
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
docdir = $(DESTDIR)$(PREFIX)/share/doc/ops-agent
libexecdir = $(DESTDIR)$(PREFIX)/libexec/ops-agent
confdir = $(DESTDIR)/etc/ops-agent
# A package has its units below /usr/lib, so that those of an administrator below /etc take precedence.
UNITDIR ?= /etc/systemd/system
SYSUSERSDIR ?= /etc/sysusers.d
unitdir = $(DESTDIR)$(UNITDIR)
sysusersdir = $(DESTDIR)$(SYSUSERSDIR)
# What the build made.
programs = $(or $(CARGO_TARGET_DIR),target)/release

# Adapts the text of units and example configurations: paths that do not depend on the working directory, the prefix, and the
# names of the installed programs.
adapt = sed -e 's|/usr/local/|$(PREFIX)/|' \
	-e 's|^  work_dir: state$$|  work_dir: /var/lib/ops-daemon|' -e 's,\(state_file\|socket_path\|work_dir\): state/,\1: /var/lib/ops-daemon/,' \
	-e 's|config_file: configs/|config_file: /etc/ops-agent/|' \
	-e 's/with: \(agent\|daemon\) validate/with: ops-\1 validate/'

# The target of this machine, such as x86_64-unknown-linux-gnu, and what `static` builds for it.
host = $(shell rustc -vV | sed -n 's/^host: //p')
static = $(or $(CARGO_TARGET_DIR),target)/$(host)/release
version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
tarball = ops-scaffold-$(version)-$(host)-static.tar.gz

# Removes paths and times from the binaries, so the same sources give the same bytes anywhere. CFLAGS is for the C code of
# ring and mimalloc. The variables are private: otherwise `bench` and `install` would pass theirs on to `build`, which would
# have every flag twice, and cargo would build everything again.
build bench install static: private export RUSTFLAGS += $(call remapped,--remap-path-prefix)
build bench install static: private export CFLAGS += $(call remapped,-ffile-prefix-map)
build bench install static deb rpm tarball: export SOURCE_DATE_EPOCH ?= 0
# Procedural macros cannot be static. With `--target`, these flags are not for them.
static: private export RUSTFLAGS += -C target-feature=+crt-static
remapped = $(1)=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo $(1)=$(CURDIR)=/build

.PHONY: help build run demo test torture audit sbom reproduce bench instructions syscalls install uninstall \
	static dist packaged deb rpm tarball image clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build agent and daemon, optimised
	cargo build --release --locked --package ops-agent

run: ## run the agent with its example configuration
	cargo run --release --locked --bin agent -- run --config configs/agent.yaml

demo: ## run a daemon with three agents on free ports until Ctrl-C
	demo/run.sh

test: ## run all tests
	cargo test --workspace --locked

torture: ## inject faults into agent and daemon for about ten minutes, and write target/torture-report.md
	cargo test --locked --test torture

audit: ## check the dependencies against deny.toml (installs cargo-deny if it is missing)
	.ci/audit

sbom: ## write the components of the programs to target/sbom (installs cargo-cyclonedx if it is missing)
	.ci/sbom

reproduce: ## build twice in different directories, and compare the bytes
	.ci/reproduce

bench: build ## measure agent and daemon next to comparable programs, and write docs/PERFORMANCE.md
	cargo build --release --locked --package hotpaths
	cargo build --release --locked --bin agent --no-default-features --features mimalloc --target-dir target/no-tls
	benches/bench.py $(ARGS)

instructions: ## count the instructions of the hot paths, and compare with the reviewed counts
	benches/instructions.py

syscalls: ## count the system calls of the daemon's looks at processes, and compare with the reviewed count
	cargo build --locked --bin daemon
	BENCH_BIN=$(or $(CARGO_TARGET_DIR),target)/debug benches/syscalls.py

install: build ## install programs, man pages, completions, units and examples, and configurations where there are none
	install -d $(bindir) $(mandir) $(bashdir) $(zshdir) $(fishdir) $(docdir) $(libexecdir) $(confdir) $(unitdir) $(sysusersdir)
	umask 022; for program in agent daemon; do \
		install -m 755 $(programs)/$$program $(bindir)/ops-$$program && \
		$(bindir)/ops-$$program man --directory $(mandir) && \
		$(bindir)/ops-$$program completions bash > $(bashdir)/ops-$$program && \
		$(bindir)/ops-$$program completions zsh > $(zshdir)/_ops-$$program && \
		$(bindir)/ops-$$program completions fish > $(fishdir)/ops-$$program.fish || exit 1; \
	done
	install -m 755 configs/systemd/move-state $(libexecdir)
	install -m 644 configs/*.schema.json configs/systemd/ops-daemon-strict.conf $(docdir)
	umask 022; for tool in monit nagios logrotate; do \
		install -d $(docdir)/$$tool && for file in configs/$$tool/*; do $(adapt) $$file > $(docdir)/$$tool/$${file##*/} || exit 1; done; \
	done
	install -m 644 configs/*.schema.json $(confdir)
	umask 022; for file in configs/*.yaml; do \
		$(adapt) $$file > $(docdir)/$${file##*/} && \
		{ test -e $(confdir)/$${file##*/} || install -m 644 $(docdir)/$${file##*/} $(confdir); } || exit 1; \
	done
	umask 022; for unit in configs/systemd/*.service configs/systemd/*.socket; do $(adapt) $$unit > $(unitdir)/$${unit##*/} || exit 1; done
	install -m 644 configs/systemd/ops-agent.sysusers.conf $(sysusersdir)/ops-agent.conf
	@echo "Now run: systemd-sysusers && systemctl daemon-reload"

uninstall: ## remove what `make install` installed, except configurations, state and the user ops-agent
	for program in ops-agent ops-daemon; do \
		rm -f $(bindir)/$$program $(mandir)/$$program.1 $(mandir)/$$program-*.1 $(bashdir)/$$program $(zshdir)/_$$program $(fishdir)/$$program.fish; \
	done
	rm -rf $(docdir) $(libexecdir)
	rm -f $(confdir)/agent.schema.json $(confdir)/daemon.schema.json
	rm -f $(unitdir)/ops-agent@.service $(unitdir)/ops-agent@.socket $(unitdir)/ops-daemon.service $(sysusersdir)/ops-agent.conf

static: ## build agent and daemon, optimised, with libc inside
	cargo build --release --locked --package ops-agent --target $(host)

dist: deb rpm tarball image ## make a Debian package, an RPM, a static tarball and the files of the image in target/dist
	@ls -sh target/dist

# What `make install` installs, as the packages have it.
packaged: build
	rm -rf target/dist/root
	$(MAKE) --silent --old-file=build install DESTDIR=$(CURDIR)/target/dist/root PREFIX=/usr \
		UNITDIR=/usr/lib/systemd/system SYSUSERSDIR=/usr/lib/sysusers.d

deb: packaged ## make the Debian package (needs cargo-deb)
	cargo deb --no-build --no-strip --output target/dist

rpm: packaged ## make the RPM (needs cargo-generate-rpm)
	cargo generate-rpm --output target/dist

# Without /etc/ops-agent, so that unpacking a new version leaves the configurations alone.
tarball: static ## make the static tarball
	rm -rf target/dist/static
	$(MAKE) --silent --old-file=build install DESTDIR=$(CURDIR)/target/dist/static programs=$(static)
	cd target/dist/static && find etc/systemd etc/sysusers.d usr -type f | LC_ALL=C sort | tar --create --gzip --files-from=- \
		--owner=0 --group=0 --numeric-owner --mtime=@$(SOURCE_DATE_EPOCH) --file=../$(tarball)

image: static ## make the files that the Containerfile needs
	rm -rf target/dist/image
	install -d target/dist/image/etc/ops-agent target/dist/image/var/lib/ops-agent
	install -D -m 755 $(static)/agent target/dist/image/usr/bin/ops-agent
	install -m 644 configs/agent.yaml target/dist/image/etc/ops-agent

clean: ## remove what the build made
	cargo clean
