//! A time name space: monotonic and boot time that are days away from everybody else's.

use std::process::{Command, Stdio};

use ops_runtime::observe::read_status;

use super::{comes, is_negative, judge};
use crate::report::Findings;
use crate::support::agent::AgentDir;
use crate::support::daemon::signal;
use crate::support::programs;

/// How far its clocks are ahead, in seconds. Behind is possible only as far as the host has been up.
const AHEAD: u32 = 30 * 24 * 3600;

pub(super) fn run(findings: &mut Findings) {
    if !Command::new("unshare").args(["--time", "true"]).stderr(Stdio::null()).status().is_ok_and(|it| it.success()) {
        return findings.could_not("move monotonic and boot time: `unshare --time` is not permitted or not there");
    }
    let home = AgentDir::new("");
    let mut command = Command::new("unshare");
    let ahead = AHEAD.to_string();
    command.args(["--time", "--monotonic", &ahead, "--boottime", &ahead, "--fork", "--kill-child"]);
    command.args([programs::agent(), "run", "--config", "agent.yaml"]).current_dir(home.path()).env_clear();
    let mut inside = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("unshare");
    let status = home.status_file();
    let runs = comes(|| read_status(&status).is_ok_and(|file| file.state.beats()));
    if !runs {
        findings.lost("in a time name space of its own, an agent does not come to run");
    }
    let (code, said) = judge("check", &status, &[]);
    // Degraded is an answer too: it is at work.
    if !matches!(code, Some(0 | 1)) || is_negative(&said) {
        findings.lost(format!("of an agent in another time name space, check says {said:?} and ends with {code:?}"));
    }
    findings.saw(format!(
        "of an agent whose boot time is 30 days ahead in a name space of its own, check says: {}",
        said.trim()
    ));
    findings.tried(1, "agent in a time name space of its own, checked from outside");
    if let Ok(file) = read_status(&status) {
        signal(file.pid, rustix::process::Signal::TERM);
    }
    // unshare ends as the agent does.
    if !comes(|| inside.try_wait().is_ok_and(|ended| ended.is_some_and(|status| status.success()))) {
        findings.lost("in a time name space of its own, an agent does not stop in order");
    }
    // With it goes the agent, by `--kill-child`.
    let _ = inside.kill();
    let _ = inside.wait();
}
