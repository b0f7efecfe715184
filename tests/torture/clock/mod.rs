//! Clock changes: a wall clock that is set, a time namespace, and stopped processes.

mod namespace;
mod suspend;
mod wall;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Effort;
use crate::report::Findings;
use crate::support::agent::DEADLINE;
use crate::support::programs;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    wall::run(effort, findings);
    namespace::run(findings);
    suspend::run(effort, findings);
}

/// Waits until `condition` holds. `false`: it does not hold before the deadline.
fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Runs `agent check` or `agent status` on a status file, with these environment variables: exit code and output.
fn run_reader(command: &str, file: &Path, variables: &[(&str, String)]) -> (Option<i32>, String) {
    let mut reader = Command::new(programs::agent());
    reader.arg(command).arg("--state-file").arg(file).env_clear();
    let output = reader.envs(variables.iter().map(|(name, value)| (name, value))).output().expect("the agent's binary");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a text contains a negative number, such as an age of `-3 s`.
fn has_negative_number(text: &str) -> bool {
    text.split_whitespace()
        .any(|word| word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
}
