//! A full disk: a file system of its own, for state and log, filled before the start, at work and around a reload.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::Value;

use super::{comes, has_fault, health, is_as_before, is_well, local, metrics, vitals};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::metric;
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::{get, request};

/// A small file system in memory. Gone when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn at(path: &'a Path) -> Result<Self, String> {
        fs::create_dir_all(path).map_err(|error| error.to_string())?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(path)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.0.join("filler")).expect("a file");
        while file.write_all(&[b'x'; 4096]).is_ok() {}
    }

    fn free(&self) {
        let _ = fs::remove_file(self.0.join("filler"));
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let home = AgentDir::new("log: { file: disk/agent.log }\nstate: { file: disk/tested.ron, refresh: 100ms }\n");
    let disk = home.path().join("disk");
    let small = match Small::at(&disk) {
        Ok(small) => small,
        Err(error) => {
            return findings.could_not(format!("fill a disk: a file system of one's own needs root: {error}"));
        }
    };
    agent_at_work(&home, &small, effort.pick(2, 5), findings);
    agent_starts(&home, &small, findings);
    drop(small);
    daemon_at_work(findings);
}

fn agent_at_work(home: &AgentDir, small: &Small<'_>, times: u64, findings: &mut Findings) {
    let status = small.0.join("tested.ron");
    let mut agent = home.spawn();
    let Some(port) = super::eventually(|| read_status(&status).ok()?.http.map(|address| address.port())) else {
        return findings.lost("an agent with state and log on a small disk does not start");
    };
    if !comes(|| is_well(port)) {
        return findings.lost("an agent with state and log on a small disk does not come to run");
    }
    let pid = agent.pid();
    let before = vitals(pid).resident;
    for _ in 0..times {
        small.fill();
        if !comes(|| has_fault(port, "status_file")) {
            findings.lost("a full disk is not the fault `status_file`");
        }
        // With each write that fails, the writer lets go of what it had begun.
        small.fill();
        let file = read_status(&status);
        if file.is_err() {
            findings.lost(format!("on a full disk, the status file is not whole: {file:?}"));
        }
        // A reload opens the log anew, and says so in it, as long as the last block that it has takes more.
        let had = lines_lost(port);
        let lost = super::eventually(|| {
            let reload = request(local(port), "POST", "/reload", "").status;
            (reload != 200 || lines_lost(port) > had).then_some(reload)
        });
        if lost != Some(200) {
            findings.lost(format!("on a full disk, /reload answers {lost:?}, or no line is ever lost"));
        }
        let livez = get(local(port), "/livez").status;
        if livez != 200 {
            findings.lost(format!("on a full disk, /livez answers {livez}"));
        }
        small.free();
        if !comes(|| is_well(port)) {
            findings.lost("the agent is not Running again once there is space");
        }
    }
    findings.tried(times, "agent whose disk, with status file and log, fills up at work, with a reload meanwhile");
    is_as_before(pid, before, "agent whose disk was full", findings);
    lines_are_told_of(port, &small.0.join("agent.log"), findings);
    if agent.stop() != Some(0) {
        findings.lost("an agent whose disk was full does not stop in order");
    }
    // And while it is full.
    let mut agent = home.spawn();
    if !comes(|| read_status(&status).is_ok_and(|file| file.pid == agent.pid() && file.http.is_some())) {
        findings.lost("an agent whose disk was full once does not start again");
    }
    small.fill();
    small.fill();
    let code = agent.stop();
    let text = format!("an agent that is stopped on a full disk ends with {code:?}");
    if matches!(code, Some(0 | 1)) {
        findings.saw(text)
    } else {
        findings.lost(text)
    }
    findings.tried(1, "stop on a full disk");
    if read_status(&status).is_err() {
        findings.lost("a stop on a full disk leaves a status file that is not whole");
    }
    small.free();
}

/// What is missing in the log is counted, and the log says so itself, in the line that follows.
fn lines_are_told_of(port: u16, log: &Path, findings: &mut Findings) {
    let lost = lines_lost(port);
    let read = || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let torn = text.lines().count().saturating_sub(lines.len()) as u64;
        (lines.iter().filter_map(missing).sum::<u64>(), torn)
    };
    // That it is Running again is told once everybody else may know it.
    let told = comes(|| read().0 == lost);
    let (of, torn) = read();
    if lost == 0 || !told {
        findings.lost(format!("{lost} log lines were lost to a full disk, and the log tells of {of}"));
    }
    // One that did not fit ends where the disk ended, and is one of those that are told of.
    if torn > lost {
        findings.lost(format!("{torn} lines of the log are none, and only {lost} are told of"));
    }
    findings.saw(format!(
        "{lost} log lines lost to full disks are counted, {torn} of them cut off, and the log tells of each"
    ));
}

fn lines_lost(port: u16) -> u64 {
    metric(&metrics(port), "ops_agent_log_lines_lost_total", &[])
}

/// How many lines a line of the log says are missing.
fn missing(line: &Value) -> Option<u64> {
    line["lines_lost"].as_u64()
}

/// A start on a full disk: with what an earlier life has left, and with nothing.
fn agent_starts(home: &AgentDir, small: &Small<'_>, findings: &mut Findings) {
    for fresh in [false, true] {
        if fresh {
            for entry in fs::read_dir(small.0).expect("a directory").filter_map(Result::ok) {
                let _ = fs::remove_file(entry.path());
            }
        }
        small.fill();
        let errors = home.path().join("errors");
        let mut command = home.command(&["run", "--config", "agent.yaml"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(File::create(&errors).expect("a file")).spawn().expect("an agent");
        let status = small.0.join("tested.ron");
        let pid = child.id();
        let works = || read_status(&status).is_ok_and(|file| file.pid == pid);
        // Where nothing can be written, it either says so and ends, or is at work once there is space. That may be there a bit
        // before it is looked for, or a bit after: one of the two it does in any case.
        let early = super::within(Duration::from_secs(1), || child.try_wait().expect("a child"));
        small.free();
        let ended = early.map(Some).or_else(|| {
            super::eventually(|| child.try_wait().expect("a child").map(Some).or_else(|| works().then_some(None)))
        });
        match ended {
            Some(Some(status)) => {
                let said = fs::read_to_string(&errors).unwrap_or_default();
                if status.code() != Some(1) || said.trim().is_empty() {
                    findings.lost(format!("a start on a full disk ends with {status} and says {said:?}"));
                }
                findings.saw(format!("a start on a full disk says: {}", said.trim()));
            }
            Some(None) => findings.saw("an agent started on a full disk is at work once there is space"),
            None => findings.lost("an agent started on a full disk does nothing when there is space"),
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    findings.tried(2, "start on a full disk, with and without what an earlier life has left");
}

fn daemon_at_work(findings: &mut Findings) {
    let site = DaemonDir::new(&[AgentEntry::new("agent-001")]);
    let state = site.path().join("state");
    let small = match Small::at(&state) {
        Ok(small) => small,
        Err(error) => return findings.could_not(format!("fill the daemon's disk: {error}")),
    };
    let mut daemon = site.start();
    let (pid, port) = (daemon.pid(), daemon.port());
    let agent = site.wait_for_state("agent-001", "running");
    let before = vitals(pid).resident;
    let log = state.join("agents/agent-001/logs/agent.log");
    small.fill();
    small.fill();
    let well = || health(port).is_some_and(|(status, _)| status == 200);
    // Anything that the registry has to remember.
    let _ = site.ask(&["stop", "agent-001", "--wait", "0s"]);
    daemon
        .wait_for("that the registry cannot be saved", |line| line["fault"] == "registry" && line["level"] == "error");
    if well() {
        findings.lost("the daemon calls itself healthy while it cannot save its registry");
    }
    let _ = site.ask(&["start", "agent-001", "--wait", "0s"]);
    small.free();
    if !comes(well) {
        findings.lost("the daemon is not well again once there is space");
    }
    site.wait_for_state("agent-001", "running");
    is_as_before(pid, before, "daemon whose disk was full", findings);
    findings.tried(1, "daemon whose disk, with the registry and its agents' logs, fills up at work");
    let sized = fs::metadata(&log).map_or(0, |file| file.len());
    findings.saw(format!("agent pid {agent:?} was stopped and started over a full disk; its log has {sized} bytes"));
    // What it has saved is what the next one finds.
    daemon.signal(Signal::KILL);
    daemon.wait();
    let agent = daemonless(&site);
    let mut next: Agent = site.start();
    if site.wait_for_state("agent-001", "running") != agent {
        findings.lost("after a full disk, the next daemon does not find its agent");
    }
    findings.tried(1, format!("adoption from a registry that was saved after a full disk (daemon {pid})"));
    next.signal(Signal::INT);
    if next.wait().code() != Some(0) {
        findings.lost("a daemon whose disk was full does not stop in order");
    }
}

/// The agent's process while no daemon runs.
fn daemonless(site: &DaemonDir) -> Option<u32> {
    let survivors = site.survivors();
    (survivors.len() == 1).then(|| survivors[0])
}
