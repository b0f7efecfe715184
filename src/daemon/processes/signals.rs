//! Signals that the daemon was started with as ignored.

use std::fs;
use std::io;

use rustix::io::Errno;

/// Signals that no launcher can reset without `unsafe`, because no handler is allowed for them.
const NOT_RESET: [(u32, &str); 3] = [(4, "SIGILL"), (8, "SIGFPE"), (11, "SIGSEGV")];

/// The signals that this process ignores: bit 0 is signal 1.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(super) fn ignored() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default().trim();
    u64::from_str_radix(mask, 16).map_err(|_| Errno::NOSYS.into())
}

/// Logs which signals every agent will ignore, because the daemon was started so.
pub(crate) fn warn_of_ignored() {
    let Ok(ignored) = ignored() else { return };
    let names = NOT_RESET.iter().filter(|(number, _)| ignored >> (number - 1) & 1 == 1).map(|(_, name)| *name);
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        let names = names.join(", ");
        tracing::warn!(signals = names, "agents ignore these signals too: start the daemon without ignoring them");
    }
}
