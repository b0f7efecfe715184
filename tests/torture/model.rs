//! The pair as a model: every interleaving within bounds, through the product's own decisions. The search is a program of
//! its own, the member `model` of the workspace: what it needs has no place in the product's tree.

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
        Err(error) => return findings.could_not(format!("start cargo to build the model: {error}")),
    };
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let ways: u64 = table.lines().filter_map(ways_of).sum();
    findings.tried(ways, format!("steps of agent, daemon, network and disk, {bounds} bounds, to the last new state"));
    findings.table(table);
    if output.status.success() {
        findings.saw("no counterexample to any promise");
    } else {
        findings.lost(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
}

/// How many ways led to states in one search: the third cell of its row.
fn ways_of(row: &str) -> Option<u64> {
    row.split('|').nth(3)?.trim().parse().ok()
}
