//! How many descriptors may be open: more for the daemon, which watches every agent and is connected to many, and as many
//! as ever for the agents. A program that uses select(2) breaks if it is handed more than 1,024.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What this process had before it was raised: what its children get.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises this process's soft limit to its hard one, up to a million, beyond which the kernel's default does not go.
pub(crate) fn raise() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(1 << 20, |hard| hard.min(1 << 20));
    if now.current.is_some_and(|soft| soft < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..now });
        match raised {
            Ok(()) => drop(INHERITED.set(now)),
            Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
        }
    }
}

/// Gives a child the limit that it would have without us. Best done before it has opened anything; not done, it has more.
pub(super) fn restore(child: Pid) {
    if let Some(inherited) = INHERITED.get()
        && let Err(error) = prlimit(Some(child), Resource::Nofile, *inherited)
    {
        tracing::debug!(%error, "a child keeps the daemon's limit of open files");
    }
}
