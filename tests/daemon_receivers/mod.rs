//! What the daemon's receivers take, show and refuse, over real sockets.

mod http;
mod page;
mod socket;

use std::io::Write as _;
use std::process::{Command, Stdio};

/// A heartbeat as an agent sends it.
fn beat(id: &str, pid: u32, incarnation: u64) -> String {
    format!(
        r#"{{"agent_id":"{id}","pid":{pid},"status":"running","cpu":5.0,"memory":1024,"timestamp":"2025-12-05T10:00:00Z","version":"1","state":"running","incarnation":{incarnation},"sequence":9}}"#
    )
}

/// What Prometheus' own checker says of an exposition.
fn promtool(exposition: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        return eprintln!("skipped: promtool is not installed (Debian package prometheus)");
    };
    promtool.stdin.take().expect("piped").write_all(exposition.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
