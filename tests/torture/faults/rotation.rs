//! The rotation of an agent's log, with one fault. The daemon checks the sizes every 15 s, which is longer than a
//! scenario. So the rotation runs in a process of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use ops_agent::testing::daemon::processes::{LogState, rotate};
use ops_config::daemon::LogRotation;
use tempfile::TempDir;

use super::process::panic_in;
use super::results::{Outcome, ResultTable};
use super::strace::{self, Counts, Injection};
use super::table::ROWS;

/// The flag that makes this binary rotate a log.
pub(crate) const AS_ROTATION: &str = "--as-rotation";

/// The exit code if there is no log, or the log is short enough.
const NOTHING_TO_ROTATE: u8 = 3;

/// The rotation under test.
const ROTATION: LogRotation = LogRotation { max_bytes: 1000, copies: 2 };

/// The size of the log, which is too large.
const LOG_BYTES: usize = 3000;

/// Rotates the log in this work directory. The exit code is the result.
pub(crate) fn main(work_dir: &Path) -> ExitCode {
    match rotate(work_dir, ROTATION) {
        Ok(LogState::Rotated(_)) => ExitCode::SUCCESS,
        Ok(LogState::Small(_) | LogState::Missing) => ExitCode::from(NOTHING_TO_ROTATE),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Fails every call of a rotation on its files with every disk error, at each of its positions.
pub(super) fn add_to(table: &mut ResultTable) {
    let counts = {
        let rotation = TestRotation::new();
        rotation.run(None);
        Counts::of(&rotation.trace(), true)
    };
    for row in ROWS {
        let Some(count) = counts.0.get(row.call) else { continue };
        for errno in row.disk {
            for when in count.can_fail_with(errno) {
                let (outcome, failed) = run_with_fault(row.call, errno, when);
                table.add(row.call, errno, failed, &outcome);
            }
        }
    }
}

fn run_with_fault(call: &str, errno: &'static str, when: u64) -> (Outcome, usize) {
    let rotation = TestRotation::new();
    let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths: rotation.files() };
    let output = rotation.run(Some(&injection));
    let lines = strace::lines(&rotation.trace());
    let failed = strace::failed_calls(&lines);
    let failure = |how: &str| Outcome::Failed(format!("rotation, {call} {errno} (number {when}): {how}; {failed:?}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome = match output.status.code() {
        _ if panic_in(&errors).is_some() => failure(&errors),
        Some(0) if rotation.is_log_empty() => Outcome::NoEffect,
        Some(0) => failure("it exited with code 0, but the log is as long as before"),
        // With ENOENT, there is no log to rotate.
        Some(code) if code == i32::from(NOTHING_TO_ROTATE) && errno == "ENOENT" => Outcome::NoEffect,
        Some(1) if failed.iter().any(|line| strace::error_text(line).is_some_and(|text| errors.contains(text))) => {
            Outcome::Reported(BTreeSet::from(["rotation".to_owned()]))
        }
        _ => failure(&format!("it exited with {}: {errors}", output.status)),
    };
    let outcome = if rotation.is_log_empty() && !rotation.has_copy() {
        failure("the log is empty, and no copy has its content")
    } else {
        outcome
    };
    let again = rotation.run(None);
    let again_ok = matches!(again.status.code(), Some(code) if code == 0 || code == i32::from(NOTHING_TO_ROTATE));
    let outcome = if again_ok && rotation.is_log_empty() && rotation.has_copy() {
        outcome
    } else {
        failure(&format!("the next rotation does not work: {}", String::from_utf8_lossy(&again.stderr)))
    };
    (outcome, failed.len())
}

/// A work directory whose log is too long.
struct TestRotation {
    dir: TempDir,
    content: Vec<u8>,
}

impl TestRotation {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let content: Vec<u8> =
            (0..LOG_BYTES / 10).flat_map(|number| format!("line {number:04}\n").into_bytes()).collect();
        fs::create_dir(dir.path().join("logs")).expect("a directory");
        let rotation = Self { dir, content };
        fs::write(rotation.log(), &rotation.content).expect("a log");
        fs::write(&rotation.copies()[0], "older\n").expect("a copy");
        rotation
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("logs/agent.log")
    }

    fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    fn files(&self) -> Vec<PathBuf> {
        let fresh = self.dir.path().join("logs/.agent.log.new");
        [self.log(), fresh].into_iter().chain(self.copies()).collect()
    }

    fn copies(&self) -> [PathBuf; 2] {
        ["1", "2"].map(|number| self.log().with_extension(format!("log.{number}")))
    }

    fn run(&self, injection: Option<&Injection>) -> Output {
        let mut program = Command::new(std::env::current_exe().expect("this binary"));
        program.arg(AS_ROTATION).arg(self.dir.path());
        let mut traced = strace::run(&self.trace(), injection, &self.files(), &program);
        let child = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace");
        let pid = child.id();
        let output = child.wait_with_output().expect("an exit status");
        strace::wait_for_exit(&self.trace(), pid);
        output
    }

    fn is_log_empty(&self) -> bool {
        fs::metadata(self.log()).is_ok_and(|log| log.len() == 0)
    }

    /// Whether a copy ends with the last lines of the log.
    fn has_copy(&self) -> bool {
        let newest = &self.content[self.content.len() - 1000..];
        self.copies().iter().any(|copy| fs::read(copy).is_ok_and(|content| content.ends_with(newest)))
    }
}
