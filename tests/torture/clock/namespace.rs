//! A time namespace: monotonic and boot time differ from those of the host by days.

use std::process::{Command, Stdio};

use ops_runtime::observe::read_status;

use super::{becomes_true, has_negative_number, run_reader};
use crate::report::Findings;
use crate::support::agent::AgentDir;
use crate::support::daemon::signal;
use crate::support::programs;

/// How far its clocks are ahead, in seconds. They can be behind by the uptime of the host at most.
const AHEAD: u32 = 30 * 24 * 3600;

pub(super) fn run(findings: &mut Findings) {
    if !Command::new("unshare").args(["--time", "true"]).stderr(Stdio::null()).status().is_ok_and(|it| it.success()) {
        return findings.skip("a time namespace: `unshare --time` is not permitted or not installed");
    }
    let dir = AgentDir::new("");
    let mut command = Command::new("unshare");
    let ahead = AHEAD.to_string();
    command.args(["--time", "--monotonic", &ahead, "--boottime", &ahead, "--fork", "--kill-child"]);
    command.args([programs::agent(), "run", "--config", "agent.yaml"]).current_dir(dir.path()).env_clear();
    let mut unshare = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("unshare");
    let status = dir.status_file();
    let runs = becomes_true(|| read_status(&status).is_ok_and(|file| file.state.sends_heartbeats()));
    if !runs {
        findings.fail("in a time namespace of its own, an agent does not reach Running");
    }
    let (code, output) = run_reader("check", &status, &[]);
    // Code 1 is Degraded, which a slow disk can cause.
    if !matches!(code, Some(0 | 1)) || has_negative_number(&output) {
        findings.fail(format!("check of an agent in another time namespace prints {output:?} and exits with {code:?}"));
    }
    findings.note(format!("check of an agent in a time namespace 30 days ahead prints: {}", output.trim()));
    findings.tried(1, "agent in a time namespace of its own, checked from outside");
    if let Ok(file) = read_status(&status) {
        signal(file.pid, rustix::process::Signal::TERM);
    }
    // unshare exits with the agent's code.
    if !becomes_true(|| unshare.try_wait().is_ok_and(|ended| ended.is_some_and(|status| status.success()))) {
        findings.fail("in a time namespace of its own, an agent does not exit cleanly");
    }
    // `--kill-child` also kills the agent.
    let _ = unshare.kill();
    let _ = unshare.wait();
}
