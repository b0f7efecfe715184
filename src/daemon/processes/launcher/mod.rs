//! The launcher: what the daemon starts for each agent, and what becomes the agent's program.
//!
//! The daemon executes itself anew as `daemon launch`, with the start secret as the only variable and a socket as standard
//! input. The launcher prepares its own process and then executes the program, so the program never runs unprepared, and the
//! daemon never forks with more than one thread running.
//!
//! It executes nothing before it has its [`Orders`]. A daemon that dies before it sent them leaves no process behind, because
//! the launcher then reads the end of the socket and exits.

mod account;
mod attributes;
pub(crate) mod orders;
pub(crate) mod prepare;
mod step;

pub(crate) use account::NOT_GIVEN;
pub use orders::OpenFiles;
pub(crate) use orders::{Failure, Orders, Reply};
pub(crate) use step::LaunchStep;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The arguments that make the program `daemon` a launcher. They are not for users, so they are in no help.
pub(crate) const ARGUMENT: &str = "launch";

/// The exit code of a launcher that did not become the program, as that of env(1) and timeout(1). The daemon reads the reply.
pub(crate) const FAILED: u8 = 126;

/// The program of the launcher: this one, so that an upgrade on disk cannot mix versions.
#[must_use]
pub(crate) fn program() -> PathBuf {
    #[cfg(feature = "testing")]
    if let Some(program) = PROGRAM.get() {
        return program.clone();
    }
    "/proc/self/exe".into()
}

/// The program where `/proc/self/exe` is not this one: under valgrind, it is valgrind.
#[cfg(feature = "testing")]
pub static PROGRAM: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();

/// Whether this process is to be a launcher: by its arguments and by the secret in its environment.
#[must_use]
pub(crate) fn is_wanted(args: &[OsString]) -> bool {
    args.len() == 2 && args[1] == OsStr::new(ARGUMENT) && std::env::var_os(super::secret::VARIABLE).is_some()
}
