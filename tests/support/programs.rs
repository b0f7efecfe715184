//! Which build of the programs the tests start.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether to start the release builds, which must exist already.
pub(crate) static SHIPPED: AtomicBool = AtomicBool::new(false);
static PROGRAMS: LazyLock<Programs> = LazyLock::new(|| {
    let directory = target().join("release");
    let path = |name| directory.join(name).display().to_string();
    Programs { agent: path("agent"), daemon: path("daemon") }
});

/// The paths of the release builds.
struct Programs {
    agent: String,
    daemon: String,
}

/// The `agent` that the tests start: of the tests' own build, unless [`SHIPPED`].
pub(crate) fn agent() -> &'static str {
    if SHIPPED.load(Ordering::Relaxed) { &PROGRAMS.agent } else { env!("CARGO_BIN_EXE_agent") }
}

/// The `daemon`, as [`agent`].
pub(crate) fn daemon() -> &'static str {
    if SHIPPED.load(Ordering::Relaxed) { &PROGRAMS.daemon } else { env!("CARGO_BIN_EXE_daemon") }
}

/// Cargo's target directory.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_agent")).ancestors().nth(2).unwrap_or_else(|| Path::new("target"))
}
