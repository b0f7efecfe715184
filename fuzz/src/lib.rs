//! The fuzz targets, one function each. A target returns, or it panics because it has found a problem.
//!
//! The programs in `fuzz_targets/` pass it the inputs of libFuzzer. `tests/fuzz_corpus.rs` includes this file as a module
//! and passes it the committed inputs. So no path here may begin with `crate`, and the helpers that it shares with the
//! tests are included from there.

mod agent_config;
mod answers;
mod config;
#[path = "../../tests/support/control.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "a helper of the tests, included once more")]
mod control;
mod daemon_config;
mod error_log;
mod heartbeat_body;
mod http_bytes;
mod jsonrpc_lines;
mod peer;
#[path = "../../tests/support/snapshot.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "a helper of the tests, included once more")]
mod snapshot;
mod status_file;

/// Handles one input.
type Target = fn(&[u8]);

/// Each target by the name of its binary, its corpus and its dictionary.
#[allow(unreachable_pub, reason = "public in this crate, but not as a module of the tests")]
pub const TARGETS: [(&str, Target); 6] = [
    ("agent_config", agent_config::run),
    ("daemon_config", daemon_config::run),
    ("status_file", status_file::run),
    ("http_bytes", http_bytes::run),
    ("heartbeat_body", heartbeat_body::run),
    ("jsonrpc_lines", jsonrpc_lines::run),
];

/// Runs the target of this name.
///
/// # Panics
///
/// If there is no such target, or if the target has found a problem.
#[allow(unreachable_pub, reason = "public in this crate, but not as a module of the tests")]
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(input);
}
