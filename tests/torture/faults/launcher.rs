//! Faults in the launcher: each call with which it prepares a process fails with each error that is possible.
//!
//! A real daemon starts its agent through strace. The daemon has to report the failed step, to wait in Backoff, and to start the
//! agent as soon as the fault is over. It keeps neither a process nor a descriptor.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::launcher_table::{CallOfLauncher, ROWS, calls_after_start};
use super::launcher_trials::{TracedDaemon, Trial, trials, try_all};
use super::results::Outcome;
use super::strace;
use crate::Effort;
use crate::report::Findings;
use crate::resources::usage;
use crate::soak::query::call;
use crate::support::agent::DEADLINE;
use crate::support::{find_program, programs};

/// The flag that makes this binary a daemon with another launcher, which is the next argument.
pub(crate) const AS_DAEMON: &str = "--as-daemon-with-launcher";

/// The time after which the full form starts no new trial.
const LIMIT: Duration = Duration::from_secs(150);

/// The file with the options of strace.
const FAULT: &str = "fault";

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
    for row in ROWS.iter().filter(|row| !row.is_optional && !calls.iter().any(|call| row.is_of(call))) {
        findings.fail(format!("the launcher does not call {} with {:?}, as the table says", row.call, row.line_has));
    }
    let trials = trials((), &calls, effort, findings);
    let what = "starts through a launcher of which one call failed";
    try_all(trials, LIMIT, what, findings, || Ok(Site::start()), Site::with_fault);
}

/// A daemon with one agent, which it starts through a script that may make a call fail.
struct Site(TracedDaemon);

impl Site {
    fn start() -> Self {
        Self(TracedDaemon::start(&configuration(), script))
    }

    /// Starts the agent once under strace. Returns the calls between the beginning of the launcher and the program.
    fn trace(self) -> Result<Vec<CallOfLauncher>, String> {
        let before = self.settle(None)?;
        self.0.trace(FAULT, "-b execve -e trace=all");
        self.restart()?;
        self.settle(Some(before))?;
        Ok(calls_after_start(&strace::lines(&self.0.trace_file())))
    }

    /// Restarts the agent with one fault, and then without.
    fn with_fault(&self, trial: &Trial<()>) -> Result<Outcome, String> {
        let before = self.settle(None)?;
        let descriptors = usage(self.0.daemon.pid()).descriptors;
        self.0.inject(FAULT, trial);
        self.restart()?;
        let view = self.wait("whether the agent runs or is in backoff", |view| {
            let runs = view["state"] == "running" && view["pid"].as_u64() != Some(before);
            self.0.is_hit() && (runs || view["state"] == "backoff")
        })?;
        let hit = strace::lines(&self.0.trace_file()).into_iter().find(|line| line.contains("(INJECTED)"));
        let hit = hit.unwrap_or_default();
        self.0.let_be(FAULT);
        let outcome = trial.judge(&hit, &view)?;
        let after = self.settle(Some(before))?;
        self.wait("that the daemon has as many descriptors as before", |_| {
            usage(self.0.daemon.pid()).descriptors <= descriptors
        })?;
        self.wait("that the agent is the only child of the daemon", |_| children(self.0.daemon.pid()) == [after])?;
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
            let view = call(&self.0.dir.socket(), "agent", &json!({ "agent_id": "b" })).unwrap_or_default();
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
        let asked = call(&self.0.dir.socket(), "restart", &json!({ "agent_id": "b" }));
        asked.map(drop).ok_or_else(|| "the daemon does not accept a restart".to_owned())
    }
}

impl Trial<()> {
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
        "#!/bin/sh\nread -r fault <{here}/{FAULT} || exec {daemon} \"$@\"\n\
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
