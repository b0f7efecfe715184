//! A full disk: state and log are on a small file system, which is filled before the start, while running and at a
//! reload.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::Value;

use super::{becomes_true, check_memory, has_fault, health, is_healthy, local, metrics, usage};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::metric;
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::{get, request};

/// A small tmpfs. It is unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
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

    /// Writes until there is no space.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.0.join("filler")).expect("a file");
        while file.write_all(&[b'x'; 4096]).is_ok() {}
    }

    fn free(&self) {
        let _ = fs::remove_file(self.0.join("filler"));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let dir = AgentDir::new("log: { file: disk/agent.log }\nstate: { file: disk/tested.ron, refresh: 100ms }\n");
    let disk = dir.path().join("disk");
    let small = match SmallDisk::at(&disk) {
        Ok(small) => small,
        Err(error) => {
            return findings.skip(format!("a full disk: a tmpfs cannot be mounted (this needs root): {error}"));
        }
    };
    running_agent(&dir, &small, effort.pick(2, 5), findings);
    starting_agent(&dir, &small, findings);
    drop(small);
    running_daemon(findings);
}

fn running_agent(dir: &AgentDir, small: &SmallDisk<'_>, times: u64, findings: &mut Findings) {
    let status = small.0.join("tested.ron");
    let mut agent = dir.spawn();
    let Some(port) = super::eventually(|| read_status(&status).ok()?.http.map(|address| address.port())) else {
        return findings.fail("an agent with state and log on a small disk does not start");
    };
    if !becomes_true(|| is_healthy(port)) {
        return findings.fail("an agent with state and log on a small disk does not reach Running");
    }
    let pid = agent.pid();
    let before = usage(pid).resident;
    for _ in 0..times {
        small.fill();
        if !becomes_true(|| has_fault(port, "status_file")) {
            findings.fail("on a full disk, the agent does not report the fault `status_file`");
        }
        // A failed write removes its temporary file, which frees some space.
        small.fill();
        let file = read_status(&status);
        if file.is_err() {
            findings.fail(format!("on a full disk, the status file cannot be read: {file:?}"));
        }
        // Each reload writes a log line. Lines are lost as soon as the last block of the log is full.
        let lost_before = lines_lost(port);
        let lost = super::eventually(|| {
            let reload = request(local(port), "POST", "/reload", "").status;
            (reload != 200 || lines_lost(port) > lost_before).then_some(reload)
        });
        if lost != Some(200) {
            findings.fail(format!("on a full disk, /reload answers {lost:?}, or no log line is lost"));
        }
        let livez = get(local(port), "/livez").status;
        if livez != 200 {
            findings.fail(format!("on a full disk, /livez answers {livez}"));
        }
        small.free();
        if !becomes_true(|| is_healthy(port)) {
            findings.fail("the agent is not Running again once there is space");
        }
    }
    findings.tried(times, "full disk of a running agent, with status file and log, and a reload");
    check_memory(pid, before, "agent whose disk was full", findings);
    check_lost_lines(port, &small.0.join("agent.log"), findings);
    if agent.stop() != Some(0) {
        findings.fail("an agent whose disk was full does not exit cleanly");
    }
    // A stop while the disk is full.
    let mut agent = dir.spawn();
    if !becomes_true(|| read_status(&status).is_ok_and(|file| file.pid == agent.pid() && file.http.is_some())) {
        findings.fail("an agent whose disk was full does not start again");
    }
    small.fill();
    small.fill();
    let code = agent.stop();
    let text = format!("an agent that is stopped on a full disk exits with {code:?}");
    if matches!(code, Some(0 | 1)) {
        findings.note(text)
    } else {
        findings.fail(text)
    }
    findings.tried(1, "stops on a full disk");
    if read_status(&status).is_err() {
        findings.fail("after a stop on a full disk, the status file cannot be read");
    }
    small.free();
}

/// The metric counts the lost log lines, and the log itself reports them in the next line that it takes.
fn check_lost_lines(port: u16, log: &Path, findings: &mut Findings) {
    let lost = lines_lost(port);
    let read = || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let torn = text.lines().count().saturating_sub(lines.len()) as u64;
        (lines.iter().filter_map(reported_lost).sum::<u64>(), torn)
    };
    // The line that reports them may be written after the agent is Running.
    let all_reported = becomes_true(|| read().0 == lost);
    let (reported, torn) = read();
    if lost == 0 || !all_reported {
        findings.fail(format!("a full disk lost {lost} log lines, and the log reports {reported}"));
    }
    // A line that does not fit is cut off, and counts as lost.
    if torn > lost {
        findings.fail(format!("{torn} log lines are not valid JSON, and only {lost} are reported as lost"));
    }
    findings.note(format!("full disks lost {lost} log lines, {torn} of them cut off, and the log reports all of them"));
}

fn lines_lost(port: u16) -> u64 {
    metric(&metrics(port), "ops_agent_log_lines_lost_total", &[])
}

/// The number of lost lines that a log line reports.
fn reported_lost(line: &Value) -> Option<u64> {
    line["lines_lost"].as_u64()
}

/// A start on a full disk: with the files of an earlier run, and without.
fn starting_agent(dir: &AgentDir, small: &SmallDisk<'_>, findings: &mut Findings) {
    for is_empty in [false, true] {
        if is_empty {
            for entry in fs::read_dir(small.0).expect("a directory").filter_map(Result::ok) {
                let _ = fs::remove_file(entry.path());
            }
        }
        small.fill();
        let errors = dir.path().join("errors");
        let mut command = dir.command(&["run", "--config", "agent.yaml"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(File::create(&errors).expect("a file")).spawn().expect("an agent");
        let status = small.0.join("tested.ron");
        let pid = child.id();
        let works = || read_status(&status).is_ok_and(|file| file.pid == pid);
        // The agent either exits with an error, or works once there is space. Which one depends on when it first
        // writes. Both are allowed.
        let early = super::within(Duration::from_secs(1), || child.try_wait().expect("a child"));
        small.free();
        let ended = early.map(Some).or_else(|| {
            super::eventually(|| child.try_wait().expect("a child").map(Some).or_else(|| works().then_some(None)))
        });
        match ended {
            Some(Some(status)) => {
                let output = fs::read_to_string(&errors).unwrap_or_default();
                if status.code() != Some(1) || output.trim().is_empty() {
                    findings.fail(format!("a start on a full disk ends with {status} and prints {output:?}"));
                }
                findings.note(format!("a start on a full disk prints: {}", output.trim()));
            }
            Some(None) => findings.note("an agent that started on a full disk works once there is space"),
            None => findings.fail("an agent that started on a full disk does not work once there is space"),
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    findings.tried(2, "starts on a full disk, with and without the files of an earlier run");
}

fn running_daemon(findings: &mut Findings) {
    let dir = DaemonDir::new(&[AgentEntry::new("agent-001")]);
    let state = dir.path().join("state");
    let small = match SmallDisk::at(&state) {
        Ok(small) => small,
        Err(error) => return findings.skip(format!("a full disk of the daemon: {error}")),
    };
    let mut daemon = dir.start();
    let (pid, port) = (daemon.pid(), daemon.port());
    let agent = dir.wait_for_state("agent-001", "running");
    let before = usage(pid).resident;
    let log = state.join("agents/agent-001/logs/agent.log");
    small.fill();
    small.fill();
    let healthy = || health(port).is_some_and(|(status, _)| status == 200);
    // A change that the registry has to save.
    let _ = dir.ask(&["stop", "agent-001", "--wait", "0s"]);
    daemon.wait_for("that the daemon cannot save the registry", |line| {
        line["fault"] == "registry" && line["level"] == "error"
    });
    if healthy() {
        findings.fail("the daemon reports that it is healthy while it cannot save its registry");
    }
    let _ = dir.ask(&["start", "agent-001", "--wait", "0s"]);
    small.free();
    if !becomes_true(healthy) {
        findings.fail("the daemon is not healthy again once there is space");
    }
    dir.wait_for_state("agent-001", "running");
    check_memory(pid, before, "daemon whose disk was full", findings);
    findings.tried(1, "full disk of a running daemon, with registry and the agents' logs");
    let log_bytes = fs::metadata(&log).map_or(0, |file| file.len());
    findings
        .note(format!("agent pid {agent:?} was stopped and started around a full disk; its log has {log_bytes} bytes"));
    // The next daemon reads the saved registry.
    daemon.signal(Signal::KILL);
    daemon.wait();
    let agent = only_survivor(&dir);
    let mut next: Agent = dir.start();
    if dir.wait_for_state("agent-001", "running") != agent {
        findings.fail("after a full disk, the next daemon does not adopt the agent");
    }
    findings.tried(1, format!("adoptions from a registry that was saved after a full disk (daemon {pid})"));
    next.signal(Signal::INT);
    if next.wait().code() != Some(0) {
        findings.fail("a daemon whose disk was full does not exit cleanly");
    }
}

/// The agent's process, while no daemon runs.
fn only_survivor(dir: &DaemonDir) -> Option<u32> {
    let survivors = dir.survivors();
    (survivors.len() == 1).then(|| survivors[0])
}
