//! The limit on open files. The daemon raises its own, because it holds descriptors for every agent. Agents keep the limit
//! that the daemon was started with: a program that uses select(2) breaks above 1,024.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::launcher::OpenFiles;

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

/// The limit that agents get, if it is not this process's own.
pub(crate) fn limit_of_agents() -> Option<OpenFiles> {
    INHERITED.get().map(|limit| OpenFiles { soft: limit.current, hard: limit.maximum })
}
