//! The launcher: what the daemon starts for each agent, and what becomes the agent's program.
//!
//! The daemon executes itself anew as `daemon launch`, with the start secret as the only variable and a socket as standard
//! input. The launcher prepares its own process and then executes the program, so the program never runs unprepared, and the
//! daemon never forks with more than one thread running.
//!
//! The program of a check is a child of its launcher, which ends everything that it has started, also when the daemon dies.
//!
//! It executes nothing before it has its [`Orders`]. A daemon that dies before it sent them leaves no process behind, because
//! the launcher then reads the end of the socket and exits.

mod account;
mod attributes;
mod check_runner;
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

/// The same for a launcher of the program of a check.
pub(crate) const CHECK_ARGUMENT: &str = "launch-check";

/// The only variable of a launcher of the program of a check. It has no start secret.
pub(crate) const CHECK_VARIABLE: &str = "OPS_AGENT_CHECK";

/// What a launcher does with its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It becomes the program of an agent.
    Become,
    /// It runs the program of a check, and reports how that ended.
    Check,
}

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

/// What this process is to do as a launcher, by its argument and its only variable. `None`: it is none.
#[must_use]
pub(crate) fn role(args: &[OsString]) -> Option<Role> {
    let [_, argument] = args else { return None };
    let is = |wanted: &str, variable: &str| argument == OsStr::new(wanted) && std::env::var_os(variable).is_some();
    if is(ARGUMENT, super::secret::VARIABLE) {
        return Some(Role::Become);
    }
    is(CHECK_ARGUMENT, CHECK_VARIABLE).then_some(Role::Check)
}
