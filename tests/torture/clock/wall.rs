//! The wall clock, set back and forward by an hour and a year: for agent, daemon, and a reader of the status file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ops_runtime::observe::read_status;
use serde_json::Value;

use super::{becomes_true, has_negative_number, run_reader};
use crate::Effort;
use crate::report::Findings;
use crate::resources::local;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::get;
use crate::support::peer::Peer;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Paths of libfaketime on Debian, Fedora and others.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A wall clock that tests can set. It applies to processes that run with its environment variables.
struct FakeClock {
    library: &'static str,
    file: PathBuf,
}

impl FakeClock {
    fn new(directory: &Path) -> Option<Self> {
        let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists())?;
        let clock = Self { library, file: directory.join("offset") };
        clock.set(0);
        Some(clock)
    }

    /// Sets the offset in seconds. The file is replaced atomically, because libfaketime reads it at every clock query.
    fn set(&self, offset: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset:+}\n")).expect("a file");
        fs::rename(&new, &self.file).expect("a file");
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn apply_to(&self, mut command: Command) -> Command {
        command.envs(self.variables());
        command
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let settings: &[i64] = effort.pick(&[-HOUR, YEAR][..], &[-HOUR, HOUR, -YEAR, YEAR, 0][..]);
    let dir = AgentDir::new("");
    let Some(clock) = FakeClock::new(dir.path()) else {
        return findings.skip("the wall clock: libfaketime is not installed");
    };
    agent(&dir, &clock, settings, findings);
    daemon(settings, findings);
}

fn agent(dir: &AgentDir, clock: &FakeClock, settings: &[i64], findings: &mut Findings) {
    let peer = Peer::http();
    // The status file has to stay valid for long enough to be read with another clock on a slow machine.
    let heartbeat = format!("heartbeat: {{ url: \"{}\", interval: 200ms, timeout: 1m }}", peer.url());
    dir.configure(&format!("{heartbeat}\nstate: {{ refresh: 5s }}\n"));
    let mut agent = Agent::spawn(clock.apply_to(dir.command(&["run", "--config", "agent.yaml"])));
    agent.wait_for_state("Running");
    let port = agent.port();
    let status = dir.status_file();
    for &offset in settings {
        let started = std::time::Instant::now();
        let received = peer.received().len();
        clock.set(offset);
        // The status file shows whether the clock change took effect.
        let seen = becomes_true(|| read_status(&status).is_ok_and(|file| is_about(file.updated_at.0, offset)));
        if !seen {
            findings.skip(format!("the agent's wall clock, {offset} s: its status file does not show the change"));
            break;
        }
        // Five heartbeats take at least 1 s. More in this time would be a burst.
        peer.wait_until(|all| all.len() >= received + 5);
        let count = (peer.received().len() - received) as u128;
        let limit = started.elapsed().as_millis() / 180 + 3;
        if count > limit {
            findings
                .fail(format!("{count} heartbeats after the clock was set by {offset} s, at most {limit} expected"));
        }
        let (code, output) = run_reader("check", &status, &[]);
        if code != Some(0) {
            findings.fail(format!("wall clock of the agent set by {offset} s: check prints {output:?}"));
        }
        // The same with a reader whose clock has this offset, or the opposite one.
        for reader_offset in [offset, -offset] {
            let reader = FakeClock { library: clock.library, file: dir.path().join("reader") };
            reader.set(reader_offset);
            for command in ["check", "status"] {
                let (code, output) = run_reader(command, &status, &reader.variables());
                if code != Some(0) || has_negative_number(&output) {
                    findings
                        .fail(format!("agent {offset} s ahead, reader {reader_offset} s: {command} prints {output:?}"));
                }
            }
        }
        let health = get(local(port), "/health");
        if health.json()["uptime"].as_u64().is_none_or(|uptime| uptime >= 3600) {
            findings.fail(format!("wall clock set by {offset} s: /health answers {health:?}"));
        }
    }
    findings.tried(
        settings.len() as u64,
        "wall clock of an agent set back and forward, with readers ahead of it and behind it",
    );
    if agent.stop() != Some(0) {
        findings.fail("an agent whose clock was set does not exit cleanly");
    }
    // A slow disk makes an agent Degraded, too.
    let slow = |line: &Value| line["cause"].as_str().is_some_and(|cause| cause.contains("has not answered within"));
    if let Some(transition) = agent.rest_of_the_log().iter().find(|line| line["to"] == "Degraded" && !slow(line)) {
        findings.fail(format!("setting the wall clock made the agent Degraded: {}", transition["cause"]));
    }
}

fn is_about(time: SystemTime, offset: i64) -> bool {
    let now = SystemTime::now();
    let by = Duration::from_secs(offset.unsigned_abs());
    let expected = if offset < 0 { now - by } else { now + by };
    let error = expected.duration_since(time).unwrap_or_else(|error| error.duration());
    error < Duration::from_secs(600)
}

fn daemon(settings: &[i64], findings: &mut Findings) {
    let id = "agent-001";
    // Shorter than every clock change, and longer than a slow machine needs.
    let checks = format!("heartbeat_timeout: 10m, state_file: {}, state_max_age: 10m", DaemonDir::status_file(id));
    let dir = DaemonDir::new(&[AgentEntry::new(id).judged_by(&checks)]);
    dir.configure_agent(id, "state: { refresh: 20s }\n");
    let Some(clock) = FakeClock::new(dir.path()) else { return };
    let mut daemon = Agent::spawn(clock.apply_to(dir.command(&["run", "--config", "daemon.yaml"])));
    daemon.wait_for("that the daemon listens on its socket", |line| line["socket"].is_string());
    let agent = dir.wait_for_state(id, "running");
    for &offset in settings {
        clock.set(offset);
        // Every check runs several times under the new clock.
        let heartbeats = |dir: &DaemonDir| dir.agent(id)["heartbeats"].as_u64().unwrap_or_default();
        let before = heartbeats(&dir);
        wait_until("heartbeats come under the new clock", || heartbeats(&dir) >= before + 5);
        let now = dir.agent(id);
        // The time of the heartbeat shows whether the clock change took effect.
        let last = now["last_heartbeat"].as_str().and_then(|text| humantime::parse_rfc3339(text).ok());
        if !last.is_some_and(|time| is_about(time, offset)) {
            findings.skip(format!("the daemon's wall clock, {offset} s: the last heartbeat is of {last:?}"));
            break;
        }
        if now["state"] != "running" || now["restarts"] != 0 || dir.pid(id) != agent {
            findings.fail(format!("wall clock set by {offset} s: the daemon reports {now}"));
        }
        for reader in [0, offset] {
            let mut status = dir.command(&["status", "--config", "daemon.yaml"]);
            let reader_clock = FakeClock { library: clock.library, file: dir.path().join("reader") };
            reader_clock.set(reader);
            let output = status.envs(reader_clock.variables()).output().expect("the daemon's binary");
            let text = String::from_utf8_lossy(&output.stdout);
            if output.status.code() != Some(0) || has_negative_number(&text) {
                findings.fail(format!("daemon {offset} s ahead, reader {reader} s: status prints {text:?}"));
            }
        }
    }
    findings.tried(settings.len() as u64, "wall clock of a daemon and its agent set back and forward");
    daemon.signal(rustix::process::Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.fail("a daemon whose clock was set does not exit cleanly");
    }
    let log = daemon.rest_of_the_log();
    if let Some(reason) = log.iter().filter_map(hold_reason).find(|reason| is_clock_change(reason)) {
        findings.fail(format!("the daemon took a clock change for a stall of its own: {reason}"));
    }
    if log.iter().any(|line| line["to"] == "Unhealthy" || line["to"] == "Backoff") {
        findings.fail("setting the wall clock led to a verdict");
    }
}

/// The reason of a restart hold, if this log line reports one.
fn hold_reason(line: &Value) -> Option<&str> {
    let held = line["message"].as_str()?.contains("restarts are held");
    line["reason"].as_str().filter(|_| held)
}

/// Whether the reported stall is as long as a clock change. A shorter one is a real stall of the machine.
fn is_clock_change(reason: &str) -> bool {
    let seconds = reason.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).fold(0.0, f64::max);
    seconds >= HOUR as f64 / 2.0
}
