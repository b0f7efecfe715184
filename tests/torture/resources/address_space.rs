//! A limit of the address space makes allocations fail, while a cgroup limit kills. If it is too small, the start must
//! fail.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use statemachine::lifecycle::State;

use super::eventually;
use crate::report::Findings;
use crate::support::agent::AgentDir;
use crate::support::programs;

const MEBIBYTES: [u64; 10] = [12, 16, 24, 32, 48, 64, 128, 256, 1024, 4096];

pub(super) fn run(findings: &mut Findings) {
    let (mut works, mut fails) = (Vec::new(), Vec::new());
    for mebibytes in MEBIBYTES {
        let dir = AgentDir::new("");
        let errors = dir.path().join("errors");
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            &format!("ulimit -v {}; exec {} run --config agent.yaml", mebibytes * 1024, programs::agent()),
        ]);
        // The loader prints when it passes control to the program.
        command.current_dir(dir.path()).env_clear().env("LD_DEBUG", "files").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(fs::File::create(&errors).expect("a file")).spawn().expect("a shell");
        let status = dir.status_file();
        let is_running = || read_status(&status).is_ok_and(|file| file.state == State::Running);
        match eventually(|| child.try_wait().expect("a child").map(Some).or_else(|| is_running().then_some(None))) {
            Some(None) => works.push(mebibytes),
            Some(Some(status)) => match classify_exit(status, &fs::read_to_string(&errors).unwrap_or_default()) {
                Ok(kind) => fails.push(format!("{mebibytes} MiB: {kind}")),
                Err(output) => {
                    findings.fail(format!(
                        "with {mebibytes} MiB of address space, the agent ends with {status} and prints {output:?}"
                    ));
                }
            },
            None => findings.fail(format!("with {mebibytes} MiB of address space, the agent neither works nor ends")),
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    findings.tried(MEBIBYTES.len() as u64, "starts with a limit of the address space (`ulimit -v`)");
    findings.note(format!(
        "the agent works with this address space, in MiB: {works:?}; it fails with {}",
        fails.join(", ")
    ));
}

/// The kind of exit, if it is allowed: before the program has control, exit 1 with a message, or Rust's abort after a
/// failed allocation. `Err`: it is not allowed; the output.
fn classify_exit(status: ExitStatus, errors: &str) -> Result<&'static str, String> {
    let (of_the_loader, own): (Vec<_>, Vec<_>) =
        errors.lines().partition(|line| line.trim_start().starts_with(is_digit));
    let started =
        of_the_loader.iter().any(|line| line.ends_with(&format!("transferring control: {}", programs::agent())));
    let own = own.join("\n");
    if !started {
        return Ok("kernel or loader cannot load the program");
    }
    match (status.code(), status.signal()) {
        (Some(1), _) if !own.trim().is_empty() => Ok("exit 1 with a message"),
        (_, Some(signal)) if signal == Signal::ABORT.as_raw() && own.contains("memory allocation of") => {
            Ok("SIGABRT after a failed allocation")
        }
        _ => Err(own),
    }
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}
