//! Puts in order what this process inherited from the program that started it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGCHLD, SIGXFSZ};

/// Resets what would change the behaviour of this process or of its children. Call it first, while there is one thread.
///
/// * Inherited descriptors are not passed on. They stay open, because one of them may be the configuration or a listener.
/// * No signal is blocked.
/// * SIGCHLD is not ignored, or the exit codes of children would be lost.
/// * SIGXFSZ does not end the process. A write above the limit on file sizes then fails like any other.
///
/// # Errors
///
/// The system refuses a signal handler.
pub(crate) fn prepare() -> io::Result<()> {
    close_fds::set_fds_cloexec(3, &[]);
    SigSet::empty().thread_set_mask()?;
    let caught = Arc::new(AtomicBool::new(false));
    for signal in [SIGCHLD, SIGXFSZ] {
        signal_hook::flag::register(signal, Arc::clone(&caught))?;
    }
    Ok(())
}

/// Whether this process is PID 1, as in a container. When it ends, the kernel kills every other process.
#[must_use]
pub fn is_init() -> bool {
    std::process::id() == 1
}
