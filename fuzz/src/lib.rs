//! What the fuzz targets do, one function for each: given bytes, it either comes back or has found something and panics.
//!
//! The binaries in `fuzz_targets/` hand them libFuzzer's inputs, and `tests/fuzz_corpus.rs`, which includes this file as a
//! module, the committed ones. So nothing here may name `crate`, and what it shares with the tests it takes from there.

mod agent_config;
mod answers;
mod config;
#[path = "../../tests/support/control.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the tests' own, included once more")]
mod control;
mod daemon_config;
mod heartbeat_body;
mod http_bytes;
mod jsonrpc_lines;
mod peer;
mod rejection_summary;
#[path = "../../tests/support/snapshot.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the tests' own, included once more")]
mod snapshot;
mod status_file;

/// Takes an input, and comes back.
type Target = fn(&[u8]);

/// Each target by the name of its binary, its corpus and its dictionary.
#[allow(unreachable_pub, reason = "a crate's, or a module's of the tests")]
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
/// If there is none, or if it has found something.
#[allow(unreachable_pub, reason = "a crate's, or a module's of the tests")]
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(input);
}
