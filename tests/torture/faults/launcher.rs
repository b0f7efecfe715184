//! Faults in the launcher: each call with which it prepares a process fails with each error that is possible.
//!
//! A real daemon starts its agent through strace. The daemon has to report the failed step, to wait in Backoff, and to start the
//! agent as soon as the fault is over. It keeps neither a process nor a descriptor.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::launcher_table::{CallOfLauncher, ROWS, Row, calls_after_start, is_uninjected};
use super::results::{Outcome, ResultTable};
use super::strace;
use crate::Effort;
use crate::report::Findings;
use crate::resources::usage;
use crate::soak::query::call;
use crate::support::agent::{Agent, DEADLINE};
use crate::support::daemon::DaemonDir;
use crate::support::{find_program, programs};

/// The flag that makes this binary a daemon with another launcher, which is the next argument.
pub(crate) const AS_DAEMON: &str = "--as-daemon-with-launcher";

/// How many daemons run in parallel. Each of them mostly waits.
const PARALLEL: usize = 4;

/// The time after which the full form starts no new trial.
const LIMIT: Duration = Duration::from_secs(150);

/// One fault.
struct Trial {
    of: CallOfLauncher,
    errno: &'static str,
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    if find_program("strace").is_none() || find_program("env").is_none() {
        return findings.skip("faults of the launcher: strace or env is not installed");
    }
    if !rustix::process::geteuid().is_root() {
        findings.skip("faults of the calls that change the user: needs root");
    }
    let calls = match Site::start().trace() {
        Ok(calls) => calls,
        Err(problem) => return findings.fail(format!("without a fault: {problem}")),
    };
    for CallOfLauncher { name, line, .. } in calls.iter().filter(|call| call.row().is_none() && !is_uninjected(call)) {
        findings.fail(format!("the launcher calls {name}, which has no row in the table of errors: {line}"));
    }
    for row in ROWS.iter().filter(|row| !row.is_optional && !calls.iter().any(|call| row.is_of(call))) {
        findings.fail(format!("the launcher does not call {} with {:?}, as the table says", row.call, row.line_has));
    }
    // The short form has one error of the first call of each row.
    let (errors, calls_of_a_row) = effort.pick((1, 1), (usize::MAX, usize::MAX));
    let first = |row: &'static Row| calls.iter().filter(move |call| call.row().is_some_and(|of| std::ptr::eq(of, row)));
    let trials = ROWS.iter().flat_map(|row| first(row).take(calls_of_a_row).map(move |call| (call, row)));
    let trials =
        trials.flat_map(|(call, row)| row.errors.iter().take(errors).map(|errno| Trial { of: call.clone(), errno }));
    let queue = Mutex::new(trials.collect::<Vec<Trial>>());
    let table = Mutex::new(ResultTable::default());
    let until = Instant::now() + LIMIT;
    let work = || {
        let mut site: Option<Site> = None;
        while Instant::now() < until {
            let Some(trial) = queue.lock().ok().and_then(|mut queue| queue.pop()) else { return };
            let outcome = site.get_or_insert_with(Site::start).with_fault(&trial);
            let (failed_calls, outcome) = match outcome {
                Ok(outcome) => (1, outcome),
                Err(how) => {
                    site = None;
                    (0, Outcome::Failed(format!("{} {}: {how} [{}]", trial.of.name, trial.errno, trial.of.line)))
                }
            };
            if let Ok(mut table) = table.lock() {
                table.add(&trial.of.name, trial.errno, failed_calls, &outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..PARALLEL).for_each(|_| drop(scope.spawn(work))));
    let (table, left) = (table.into_inner().unwrap_or_default(), queue.into_inner().unwrap_or_default());
    if table.totals().0 == 0 {
        findings.fail("no call of the launcher failed");
    }
    findings.tried(table.totals().0, "starts through a launcher of which one call failed");
    if !left.is_empty() {
        findings.skip(format!("{} more faults, because the time limit was reached", left.len()));
    }
    table.failures().iter().for_each(|failure| findings.fail(failure.clone()));
    findings.table(table.markdown());
}

/// A daemon with one agent, which it starts through a script that may make a call fail.
struct Site {
    /// The daemon ends before its directory.
    daemon: Agent,
    dir: DaemonDir,
}

impl Site {
    fn start() -> Self {
        let dir = DaemonDir::new(&[]);
        let path = dir.path();
        // The agent may run as another user, who has to pass.
        fs::set_permissions(path, Permissions::from_mode(0o711)).expect("permissions");
        fs::write(path.join("daemon.yaml"), configuration()).expect("a configuration");
        let launcher = path.join("launcher.sh");
        fs::write(&launcher, script(path)).expect("a script");
        fs::set_permissions(&launcher, Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(AS_DAEMON).arg(&launcher).args(["run", "--config", "daemon.yaml"]);
        command.current_dir(path).env_clear().stdin(Stdio::null());
        Self { daemon: Agent::spawn(command), dir }
    }

    /// Starts the agent once under strace. Returns the calls between the beginning of the launcher and the program.
    fn trace(self) -> Result<Vec<CallOfLauncher>, String> {
        let before = self.settle(None)?;
        self.inject("-b execve -e trace=all");
        self.restart()?;
        self.settle(Some(before))?;
        Ok(calls_after_start(&strace::lines(&self.trace_file())))
    }

    /// Restarts the agent with one fault, and then without.
    fn with_fault(&self, trial: &Trial) -> Result<Outcome, String> {
        let before = self.settle(None)?;
        let descriptors = usage(self.daemon.pid()).descriptors;
        let CallOfLauncher { name, number, .. } = &trial.of;
        // With this option, strace detaches when the program is executed: before the call could fail.
        let detach = if name == "execve" { "" } else { "-b execve" };
        self.inject(&format!("{detach} -e inject={name}:error={}:when={number}", trial.errno));
        self.restart()?;
        let view = self.wait("whether the agent runs or is in backoff", |view| {
            let is_hit = fs::read_to_string(self.trace_file()).is_ok_and(|trace| trace.contains("(INJECTED)"));
            let runs = view["state"] == "running" && view["pid"].as_u64() != Some(before);
            is_hit && (runs || view["state"] == "backoff")
        })?;
        let hit = strace::lines(&self.trace_file()).into_iter().find(|line| line.contains("(INJECTED)"));
        let hit = hit.unwrap_or_default();
        let _ = fs::remove_file(self.dir.path().join("fault"));
        let outcome = trial.judge(&hit, &view)?;
        let after = self.settle(Some(before))?;
        self.wait("that the daemon has as many descriptors as before", |_| {
            usage(self.daemon.pid()).descriptors <= descriptors
        })?;
        self.wait("that the agent is the only child of the daemon", |_| children(self.daemon.pid()) == [after])?;
        Ok(outcome)
    }

    /// Waits until the agent runs as another process than `before`, and returns its pid.
    fn settle(&self, before: Option<u64>) -> Result<u64, String> {
        let is_new =
            |view: &Value| view["state"] == "running" && view["pid"].is_u64() && view["pid"].as_u64() != before;
        let view = self.wait("that the agent runs", is_new)?;
        view["pid"].as_u64().ok_or_else(|| "the agent has no pid".to_owned())
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let until = Instant::now() + DEADLINE;
        loop {
            let view = call(&self.dir.socket(), "agent", &json!({ "agent_id": "b" })).unwrap_or_default();
            if is_so(&view) {
                return Ok(view);
            }
            if Instant::now() > until {
                return Err(format!("it is not seen {what}: {view}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn restart(&self) -> Result<(), String> {
        let asked = call(&self.dir.socket(), "restart", &json!({ "agent_id": "b" }));
        asked.map(drop).ok_or_else(|| "the daemon does not accept a restart".to_owned())
    }

    /// Lets strace trace the next launchers with these options.
    fn inject(&self, options: &str) {
        let _ = fs::remove_file(self.trace_file());
        let unfinished = self.dir.path().join("fault.new");
        fs::write(&unfinished, format!("{options}\n")).expect("a file");
        fs::rename(unfinished, self.dir.path().join("fault")).expect("a file");
    }

    fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.daemon.signal(Signal::INT);
        let _ = self.daemon.wait_within(DEADLINE);
    }
}

impl Trial {
    /// Compares what the daemon reports with the step that failed.
    fn judge(&self, hit: &str, view: &Value) -> Result<Outcome, String> {
        let row = self.of.row().ok_or("it has no row")?;
        if view["state"] == "running" {
            return if row.may_be_harmless { Ok(Outcome::NoEffect) } else { Err(format!("it runs in spite of {hit}")) };
        }
        let history = view["history"].as_array().cloned().unwrap_or_default();
        let cause = history.iter().rev().find(|moved| moved["to"] == "backoff").map(|moved| &moved["cause"]);
        let cause = cause.and_then(Value::as_str).unwrap_or_default();
        let reported: BTreeSet<String> =
            row.reported_as.iter().filter(|text| cause.contains(**text)).map(|text| (*text).to_owned()).collect();
        if reported.is_empty() || !cause.starts_with("could not be started") {
            return Err(format!("the reason is {cause:?}, which does not have {:?}", row.reported_as));
        }
        // A library may return another error than that of the call. And a program that seems to be missing has a reason of its own.
        let text = strace::error_text(hit).unwrap_or_default();
        if !row.may_be_harmless && self.errno != "ENOENT" && !cause.contains(text) {
            return Err(format!("the reason is {cause:?}, which does not have {text:?}"));
        }
        Ok(Outcome::Reported(reported))
    }
}

/// Every setting that the launcher can apply.
fn configuration() -> String {
    let user = if rustix::process::geteuid().is_root() { "    user: daemon\n" } else { "" };
    let limits = "open_files: 100, core: 0, processes: 60000, file_size: 1000000, locked_memory: 65536, \
         address_space: 1000000000";
    let checks = "interval: 1h, heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0, start_grace: 0s";
    let restart = "backoff_base: 100ms, backoff_max: 100ms, max_retries: 1000000";
    format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents:\n  - id: b\n    binary_path: /bin/sleep\n\
         \x20   args: [\"100000\"]\n{user}    umask: \"0027\"\n    nice: 5\n    oom_score_adj: 100\n\
         \x20   limits: {{ {limits} }}\n    health_check: {{ {checks} }}\n    restart: {{ {restart} }}\n"
    )
}

/// The launcher, under strace while there is a file with its options. strace itself gets no start secret, so that it is no
/// member of the tree.
fn script(directory: &Path) -> String {
    let (here, daemon) = (directory.display(), programs::daemon());
    let tool = |name| find_program(name).unwrap_or_default().display().to_string();
    let (env, strace, secret) = (tool("env"), tool("strace"), "OPS_AGENT_START_SECRET");
    format!(
        "#!/bin/sh\nread -r fault <{here}/fault || exec {daemon} \"$@\"\n\
         exec {env} -u {secret} {strace} -D $fault -y -s 64 -o {here}/trace -E \"{secret}=${secret}\" {daemon} \"$@\"\n"
    )
}

pub(super) fn children(pid: u32) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u64>>())
        .collect()
}
