//! The wall clock, set back and forward by an hour and a year while agent and daemon run, and for `agent check` alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ops_runtime::observe::read_status;
use serde_json::Value;

use super::{comes, is_negative, judge};
use crate::Effort;
use crate::report::Findings;
use crate::resources::local;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::get;
use crate::support::peer::Peer;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Where Debian, Fedora and others put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A wall clock that can be set, for whoever is started with its variables.
struct Wall {
    library: &'static str,
    file: PathBuf,
}

impl Wall {
    fn new(directory: &Path) -> Option<Self> {
        let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists())?;
        let wall = Self { library, file: directory.join("offset") };
        wall.set(0);
        Some(wall)
    }

    /// From now on it is ahead by so many seconds. In one step: it is read at each look at the clock.
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

    fn for_(&self, mut command: Command) -> Command {
        command.envs(self.variables());
        command
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let settings: &[i64] = effort.pick(&[-HOUR, YEAR][..], &[-HOUR, HOUR, -YEAR, YEAR, 0][..]);
    let home = AgentDir::new("");
    let Some(wall) = Wall::new(home.path()) else {
        return findings.could_not("set a wall clock: libfaketime is not installed");
    };
    agent(&home, &wall, settings, findings);
    daemon(settings, findings);
}

fn agent(home: &AgentDir, wall: &Wall, settings: &[i64], findings: &mut Findings) {
    let peer = Peer::http();
    // What is written under one clock has to be valid for long enough to be judged under another, however slowly.
    let heartbeat = format!("heartbeat: {{ url: \"{}\", interval: 200ms, timeout: 1m }}", peer.url());
    home.configure(&format!("{heartbeat}\nstate: {{ refresh: 5s }}\n"));
    let mut agent = Agent::spawn(wall.for_(home.command(&["run", "--config", "agent.yaml"])));
    agent.wait_for_state("Running");
    let port = agent.port();
    let status = home.status_file();
    for &offset in settings {
        let begun = std::time::Instant::now();
        let had = peer.received().len();
        wall.set(offset);
        // It shows that the clock has been set at all.
        let seen = comes(|| read_status(&status).is_ok_and(|file| is_about(file.updated_at.0, offset)));
        if !seen {
            findings.could_not(format!("set the agent's wall clock by {offset} s: its status file does not show it"));
            break;
        }
        // A second and more, whatever the machine does: at least these heartbeats, and none in a burst.
        peer.wait_until(|all| all.len() >= had + 5);
        let came = (peer.received().len() - had) as u128;
        let most = begun.elapsed().as_millis() / 180 + 3;
        if came > most {
            findings.lost(format!("{came} heartbeats after the clock was set by {offset} s, where {most} are due"));
        }
        let (code, said) = judge("check", &status, &[]);
        if code != Some(0) {
            findings.lost(format!("wall clock of the agent set by {offset} s: check says {said:?}"));
        }
        // And where the checker has that clock, or one that is wrong the other way.
        for there in [offset, -offset] {
            let reader = Wall { library: wall.library, file: home.path().join("reader") };
            reader.set(there);
            for command in ["check", "status"] {
                let (code, said) = judge(command, &status, &reader.variables());
                if code != Some(0) || is_negative(&said) {
                    findings.lost(format!("agent {offset} s ahead, reader {there} s: {command} says {said:?}"));
                }
            }
        }
        let health = get(local(port), "/health");
        if health.json()["uptime"].as_u64().is_none_or(|uptime| uptime >= 3600) {
            findings.lost(format!("wall clock set by {offset} s: /health says {health:?}"));
        }
    }
    findings.tried(
        settings.len() as u64,
        "wall clock of an agent set back and forward, with `agent check` on both sides of it",
    );
    if agent.stop() != Some(0) {
        findings.lost("an agent whose clock was set does not stop in order");
    }
    // That a disk is slow is not the clock's doing.
    let slow = |line: &Value| line["cause"].as_str().is_some_and(|cause| cause.contains("has not answered within"));
    if let Some(moved) = agent.rest_of_the_log().iter().find(|line| line["to"] == "Degraded" && !slow(line)) {
        findings.lost(format!("setting the wall clock made the agent Degraded: {}", moved["cause"]));
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
    // Less than any step of the clock, and more than a slow machine needs.
    let checks = format!("heartbeat_timeout: 10m, state_file: {}, state_max_age: 10m", DaemonDir::status_file(id));
    let site = DaemonDir::new(&[AgentEntry::new(id).judged_by(&checks)]);
    site.configure_agent(id, "state: { refresh: 20s }\n");
    let Some(wall) = Wall::new(site.path()) else { return };
    let mut daemon = Agent::spawn(wall.for_(site.command(&["run", "--config", "daemon.yaml"])));
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    let agent = site.wait_for_state(id, "running");
    for &offset in settings {
        wall.set(offset);
        // Several rounds of every check, by a clock that is not this one.
        let looks = |site: &DaemonDir| site.agent(id)["heartbeats"].as_u64().unwrap_or_default();
        let then = looks(&site);
        wait_until("heartbeats come under the new clock", || looks(&site) >= then + 5);
        let now = site.agent(id);
        // It shows that the daemon's clock has been set at all.
        let last = now["last_heartbeat"].as_str().and_then(|text| humantime::parse_rfc3339(text).ok());
        if !last.is_some_and(|time| is_about(time, offset)) {
            findings.could_not(format!("set the daemon's wall clock by {offset} s: it dates a heartbeat {last:?}"));
            break;
        }
        if now["state"] != "running" || now["restarts"] != 0 || site.pid(id) != agent {
            findings.lost(format!("wall clock set by {offset} s, and the daemon says {now}"));
        }
        for reader in [0, offset] {
            let mut asks = site.command(&["status", "--config", "daemon.yaml"]);
            let there = Wall { library: wall.library, file: site.path().join("reader") };
            there.set(reader);
            let output = asks.envs(there.variables()).output().expect("the daemon's binary");
            let said = String::from_utf8_lossy(&output.stdout);
            if output.status.code() != Some(0) || is_negative(&said) {
                findings.lost(format!("daemon {offset} s ahead, reader {reader} s: status says {said:?}"));
            }
        }
    }
    findings.tried(settings.len() as u64, "wall clock of a daemon and its agent set back and forward");
    daemon.signal(rustix::process::Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.lost("a daemon whose clock was set does not stop in order");
    }
    let log = daemon.rest_of_the_log();
    if let Some(reason) = log.iter().filter_map(held_for).find(|reason| of_a_step(reason)) {
        findings.lost(format!("the daemon took a clock that was set for a stall of its own: {reason}"));
    }
    if log.iter().any(|line| line["to"] == "Unhealthy" || line["to"] == "Backoff") {
        findings.lost("setting the wall clock led to a verdict");
    }
}

/// Why the daemon holds restarts, if that is what a line says.
fn held_for(line: &Value) -> Option<&str> {
    let held = line["message"].as_str()?.contains("restarts are held");
    line["reason"].as_str().filter(|_| held)
}

/// Whether it says that it was blind for as long as a step of the clock. What is shorter, the machine has done.
fn of_a_step(reason: &str) -> bool {
    let seconds = reason.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).fold(0.0, f64::max);
    seconds >= HOUR as f64 / 2.0
}
