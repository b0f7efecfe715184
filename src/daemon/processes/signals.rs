//! Signals that the daemon was started with as ignored.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::io::Errno;

/// Signals that no launcher can reset without `unsafe`, because no handler is allowed for them.
const NOT_RESET: [(u32, &str); 3] = [(4, "SIGILL"), (8, "SIGFPE"), (11, "SIGSEGV")];

/// The room for `/proc/self/status`, so that the kernel gives it with one call.
const STATUS_BYTES: usize = 4096;

/// The signals that this process ignores: bit 0 is signal 1.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(super) fn ignored() -> io::Result<u64> {
    let mut status = String::with_capacity(STATUS_BYTES);
    File::open("/proc/self/status")?.read_to_string(&mut status)?;
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
