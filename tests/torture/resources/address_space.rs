//! A limit of the address space makes allocations fail, where a cgroup kills. Too small a one has to end the start, and soon.

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
    let (mut works, mut ends) = (Vec::new(), Vec::new());
    for mebibytes in MEBIBYTES {
        let home = AgentDir::new("");
        let errors = home.path().join("errors");
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            &format!("ulimit -v {}; exec {} run --config agent.yaml", mebibytes * 1024, programs::agent()),
        ]);
        // The loader tells when the program's own code begins.
        command
            .current_dir(home.path())
            .env_clear()
            .env("LD_DEBUG", "files")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = command.stderr(fs::File::create(&errors).expect("a file")).spawn().expect("a shell");
        let status = home.status_file();
        let is_running = || read_status(&status).is_ok_and(|file| file.state == State::Running);
        match eventually(|| child.try_wait().expect("a child").map(Some).or_else(|| is_running().then_some(None))) {
            Some(None) => works.push(mebibytes),
            Some(Some(status)) => match how(status, &fs::read_to_string(&errors).unwrap_or_default()) {
                Ok(how) => ends.push(format!("{mebibytes} MiB: {how}")),
                Err(said) => {
                    findings
                        .lost(format!("with {mebibytes} MiB of address space it ends by {status}, saying {said:?}"));
                }
            },
            None => findings.lost(format!("with {mebibytes} MiB of address space it neither works nor ends")),
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    findings.tried(MEBIBYTES.len() as u64, "start with a limit of the address space (`ulimit -v`)");
    findings.saw(format!("address space with which the agent works, in MiB: {works:?}; and ends: {}", ends.join(", ")));
}

/// What kind of end it is, if it is one that may be: before the program's own code, by an exit with words, or as Rust ends
/// where an allocation fails. If it is not, what it said.
fn how(status: ExitStatus, errors: &str) -> Result<&'static str, String> {
    let (of_the_loader, own): (Vec<_>, Vec<_>) =
        errors.lines().partition(|line| line.trim_start().starts_with(is_digit));
    let begun =
        of_the_loader.iter().any(|line| line.ends_with(&format!("transferring control: {}", programs::agent())));
    let own = own.join("\n");
    if !begun {
        return Ok("not loaded by kernel and loader");
    }
    match (status.code(), status.signal()) {
        (Some(1), _) if !own.trim().is_empty() => Ok("exit 1, with words"),
        (_, Some(signal)) if signal == Signal::ABORT.as_raw() && own.contains("memory allocation of") => {
            Ok("SIGABRT, as Rust does where an allocation fails")
        }
        _ => Err(own),
    }
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}
