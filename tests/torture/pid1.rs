//! Daemon and agent as PID 1 of a PID namespace: they reap what the kernel gives them, and end cleanly.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ops_protocol::status_file::StatusFile;
use ops_runtime::observe::{Stat, read_status};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Effort;
use crate::process_list::in_directory;
use crate::report::Findings;
use crate::soak::query::call;
use crate::support::agent::{Agent, AgentDir, DEADLINE};
use crate::support::daemon::{DaemonDir, signal};
use crate::support::{find_program, programs};

/// The time in which PID 1 has to end: far less than the 30 s after which it kills what does not stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The most children that a PID 1 may have whose orphans have all ended: its agents, and what is being started.
const FEW: usize = 10;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let namespace = ["--pid", "--fork", "--mount-proc", "true"];
    let is_permitted = Command::new("unshare").args(namespace).stderr(Stdio::null()).status();
    if !is_permitted.is_ok_and(|status| status.success()) {
        return findings.skip("PID 1: `unshare --pid` is not permitted or not installed");
    }
    let orphans = effort.pick(2_000, 10_000);
    if let Err(problem) = daemon(orphans, findings) {
        findings.fail(format!("the daemon as PID 1: {problem}"));
    }
    if let Err(problem) = agent(orphans, findings) {
        findings.fail(format!("the agent as PID 1: {problem}"));
    }
}

/// Runs a program of this project as PID 1 in `directory`.
fn as_pid_1(directory: &Path, program: &str, config: &str) -> Agent {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", program, "run", "--config", config]);
    command.current_dir(directory).env_clear().stdin(Stdio::null());
    Agent::spawn(command)
}

/// The program, by its pid outside of the namespace.
fn pid_outside(unshare: &Agent) -> Result<u32, String> {
    children(unshare.pid()).first().copied().ok_or_else(|| "it does not run".to_owned())
}

fn daemon(orphans: usize, findings: &mut Findings) -> Result<(), String> {
    let dir = DaemonDir::new(&[]);
    let bin = copies(dir.path());
    let b = bin.display();
    // Orphans become children of the main process, which waits for none of them.
    let lines = format!("i=0; while [ $i -lt {orphans} ]; do ({b}/sleep 0 &); i=$((i+1)); done; echo x >ended");
    script(dir.path(), "leaves", &format!("{b}/sh -c '{lines}; exec {b}/sleep 100000' &\nexec {b}/sleep 100000"));
    // The worker is in another session, and needs longer than the main process.
    let worker =
        format!("trap \"{b}/sleep 0.5; echo x >drained; exit\" TERM; echo x >up; while :; do {b}/sleep 0.05; done");
    script(dir.path(), "drains", &format!("{b}/setsid {b}/sh -c '{worker}' &\nexec {b}/sleep 100000"));
    configure(dir.path(), &bin, &["leaves", "drains"]);
    let mut unshare = as_pid_1(dir.path(), programs::daemon(), "daemon.yaml");
    let file = |id: &str, name: &str| dir.path().join("state/agents").join(id).join(name);
    wait("the agents have grown their trees", || file("leaves", "ended").exists() && file("drains", "up").exists())?;
    let pid = pid_outside(&unshare)?;
    let (id, before) = ("leaves", agent_view(&dir, "leaves")["pid"].clone());

    // The zombies of this main process become children of PID 1.
    let zombies_of = |pid: u32| children(pid).into_iter().filter(|child| is_zombie(*child)).count();
    let mains = children(pid).into_iter().max_by_key(|child| zombies_of(*child));
    let main = mains.ok_or("it has no agents")?;
    let zombies = zombies_of(main);
    if zombies < orphans / 2 {
        return Err(format!("the agent has {zombies} zombies: the test has to make {orphans}"));
    }
    signal(main, Signal::KILL);
    wait("the agent runs again", || {
        let agent = agent_view(&dir, id);
        agent["state"] == "running" && agent["pid"] != before
    })?;
    wait("the orphans are reaped", || zombies_of(pid) == 0)?;
    findings.tried(zombies as u64, "zombies that the daemon gets as PID 1");

    signal(pid, Signal::TERM);
    let ended = unshare.wait_within(STOP_LIMIT).ok_or("it does not end on SIGTERM")?;
    if ended.code() != Some(0) {
        return Err(format!("it ends with {ended} on SIGTERM"));
    }
    if !file("drains", "drained").exists() {
        return Err("it ends before the worker of an agent has drained".to_owned());
    }
    nothing_in(&bin)
}

fn agent(orphans: usize, findings: &mut Findings) -> Result<(), String> {
    if find_program("nsenter").is_none() {
        findings.skip("orphans of an agent as PID 1: nsenter is not installed");
        return Ok(());
    }
    let dir = AgentDir::new("");
    let bin = copies(dir.path());
    let b = bin.display();
    let mut unshare = as_pid_1(dir.path(), programs::agent(), "agent.yaml");
    let is_healthy = |file: StatusFile| file.state.sends_heartbeats();
    wait("it is healthy", || read_status(&dir.status_file()).is_ok_and(is_healthy))?;
    let pid = pid_outside(&unshare)?;
    // The last orphan does not end by itself.
    let lines = format!("i=0; while [ $i -lt {orphans} ]; do ({b}/sleep 0 &); i=$((i+1)); done; ({b}/sleep 100000 &)");
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &pid.to_string(), "--pid", "--mount"]).arg(bin.join("sh")).args(["-c", &lines]);
    let made = nsenter.stdin(Stdio::null()).status();
    if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("nsenter makes no orphans: {made:?}"));
    }
    wait("the orphans are reaped", || children(pid).len() < FEW)?;
    findings.tried(orphans as u64, "orphans that the agent gets as PID 1");
    if !read_status(&dir.status_file()).is_ok_and(is_healthy) {
        return Err("it is not healthy any more".to_owned());
    }
    signal(pid, Signal::TERM);
    let ended = unshare.wait_within(STOP_LIMIT).ok_or("it does not end on SIGTERM")?;
    if ended.code() != Some(0) {
        return Err(format!("it ends with {ended} on SIGTERM"));
    }
    nothing_in(&bin)
}

/// Programs of the test, so that their processes can be told from others.
fn copies(directory: &Path) -> std::path::PathBuf {
    let bin = fs::canonicalize(directory).expect("a directory").join("bin");
    fs::create_dir(&bin).expect("a directory");
    for name in ["sh", "sleep", "setsid"] {
        fs::copy(find_program(name).expect("a program that every system has"), bin.join(name)).expect("a copy");
    }
    bin
}

fn script(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), format!("{text}\n")).expect("a script");
}

fn configure(directory: &Path, bin: &Path, ids: &[&str]) {
    let here = directory.display();
    let entry =
        |id: &&str| format!("  - {{ id: {id}, binary_path: {}, args: [{here}/{id}] }}\n", bin.join("sh").display());
    let checks = "interval: 200ms, heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0, start_grace: 0s";
    let yaml = format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagent_defaults: {{ health_check: {{ {checks} }} }}\nagents:\n{}",
        ids.iter().map(entry).collect::<String>()
    );
    fs::write(directory.join("daemon.yaml"), yaml).expect("a configuration");
}

fn agent_view(dir: &DaemonDir, id: &str) -> Value {
    call(&dir.socket(), "agent", &json!({ "agent_id": id })).unwrap_or_default()
}

fn wait(what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let until = std::time::Instant::now() + DEADLINE;
    while !is_so() {
        if std::time::Instant::now() > until {
            return Err(format!("it is not seen that {what}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The children of all threads of a process, zombies included.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    Stat::of(pid).is_ok_and(|stat| stat.zombie)
}

fn nothing_in(bin: &Path) -> Result<(), String> {
    let left = in_directory(bin);
    if left.is_empty() { Ok(()) } else { Err(format!("it has ended, and these processes are left: {left:?}")) }
}
