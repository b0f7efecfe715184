//! What the tests share: real processes, real peers.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod daemon;
pub(crate) mod faces;
pub(crate) mod http;
pub(crate) mod peer;
#[cfg(feature = "tls")]
pub(crate) mod pki;
pub(crate) mod programs;
pub(crate) mod prometheus;
pub(crate) mod snapshot;
#[cfg(feature = "tls")]
pub(crate) mod tls;

/// Whether a program is installed; if not, says that the test is skipped.
pub(crate) fn installed(program: &str) -> bool {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&directories).any(|directory| directory.join(program).is_file());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
