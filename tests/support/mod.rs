//! Shared by the tests: real processes and real peers.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod daemon;
pub(crate) mod daemon_api;
pub(crate) mod http;
pub(crate) mod peer;
#[cfg(feature = "tls")]
pub(crate) mod pki;
pub(crate) mod programs;
pub(crate) mod prometheus;
pub(crate) mod snapshot;
pub(crate) mod terminal;
#[cfg(feature = "tls")]
pub(crate) mod tls;

/// Where a program is installed.
pub(crate) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&directories).map(|directory| directory.join(name)).find(|path| path.is_file())
}
