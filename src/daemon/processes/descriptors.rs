//! The limit on open files. The daemon raises its own, because it holds descriptors for every agent. Agents keep the limit
//! that the daemon was started with: a program that uses select(2) breaks above 1,024.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit before it was raised. Children get this one.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of this process to the hard limit, at most to 1,048,576, the kernel's default maximum.
pub(crate) fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    let target = now.maximum.map_or(1 << 20, |hard| hard.min(1 << 20));
    if now.current.is_some_and(|soft| soft < target) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(target), ..now });
        match raised {
            Ok(()) => drop(INHERITED.set(now)),
            Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
        }
    }
}

/// Gives a child the limit that the daemon was started with. Failure is harmless: the child then has a higher limit.
pub(super) fn restore_limit(child: Pid) {
    if let Some(inherited) = INHERITED.get()
        && let Err(error) = prlimit(Some(child), Resource::Nofile, *inherited)
    {
        tracing::debug!(%error, "a child keeps the daemon's limit on open files");
    }
}
