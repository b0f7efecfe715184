//! Time that is not what it was: a wall clock that is set, clocks of a name space of one's own, and processes that were stopped.

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

/// Waits until `so` and says whether it came to that.
fn comes(mut so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + DEADLINE;
    while !so() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// `agent check` or `agent status` of a status file, with these variables: exit code and text.
fn judge(command: &str, file: &Path, variables: &[(&str, String)]) -> (Option<i32>, String) {
    let mut judge = Command::new(programs::agent());
    judge.arg(command).arg("--state-file").arg(file).env_clear();
    let output = judge.envs(variables.iter().map(|(name, value)| (name, value))).output().expect("the agent's binary");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A negative number of seconds, minutes, hours or days anywhere in what people read.
fn is_negative(text: &str) -> bool {
    text.split_whitespace()
        .any(|word| word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
}
