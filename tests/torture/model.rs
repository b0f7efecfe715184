//! Model checking of agent and daemon: every interleaving within bounds, with the product's own decision code.
//!
//! The search is the workspace member `model`, so that its dependencies stay out of the product.

use std::process::Command;

use crate::Effort;
use crate::report::Findings;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let bounds = effort.pick("short", "full");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut search = Command::new(cargo);
    search.current_dir(env!("CARGO_MANIFEST_DIR"));
    search.args(["run", "--quiet", "--locked", "--package", "ops-model", "--", bounds]);
    let output = match search.output() {
        Ok(output) => output,
        Err(error) => return findings.skip(format!("the model: cargo does not start: {error}")),
    };
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let transitions: u64 = table.lines().filter_map(transitions_in).sum();
    findings.tried(
        transitions,
        format!("steps of agent, daemon, network and disk, {bounds} bounds, until there is no new state"),
    );
    findings.table(table);
    if output.status.success() {
        findings.note("no counterexample to any guarantee");
    } else {
        findings.fail(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
}

/// How many transitions one search explored: the third cell of its row.
fn transitions_in(row: &str) -> Option<u64> {
    row.split('|').nth(3)?.trim().parse().ok()
}
