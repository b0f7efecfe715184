//! The scenario of a daemon with two agents from start to exit, with one fault.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ops_agent::testing::daemon::registry::decode;
use rustix::process::Signal;

use super::diagnostics::{Diagnostic, Sources, text};
use super::expectations::{self, Fault, Program};
use super::host::{self, Host};
use super::process::{Process, StepError, ask, panic_in, tail};
use super::results::{FaultResult, Outcome};
use super::strace::{self, Attached, Injection};
use super::table::{is_agent_failure, is_of_a_stop};
use crate::support::daemon::{DaemonDir, signal};

/// The time limit of a stop: 30 s for an agent whose SIGTERM fails, doubled for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long a lasting fault lasts: a few rounds of every check.
const PERIOD: Duration = Duration::from_millis(800);

/// The part of the scenario that has the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The daemon starts its agents. SIGTERM ends it, and the agents keep running.
    First,
    /// The daemon adopts the agents of an earlier daemon. SIGINT ends it and the agents.
    Second,
}

/// A daemon with two agents. `a` is this project's agent with all five checks, `b` is `sleep` without checks.
pub(super) struct Scenario {
    dir: DaemonDir,
    /// Reserves the ports of daemon and agent.
    _held: [OwnedFd; 2],
    port: u16,
    sources: Sources,
    process: Option<Process>,
    a: Option<u64>,
    b: Option<u64>,
    /// To the daemon, the fault looks like a failure of the agent.
    is_agent_failure: bool,
}

impl Scenario {
    fn prepare() -> Self {
        let Host { dir, held, port } = Host::new();
        let (log, output) = (dir.path().join("daemon.log"), dir.path().join("output"));
        let sources = Sources { log, output, file: None, port };
        Self { dir, _held: held, port, sources, process: None, a: None, b: None, is_agent_failure: false }
    }

    fn begin(&mut self, wrap: impl FnOnce(&Path, Command) -> Command) {
        let command = wrap(self.dir.path(), self.dir.command(&["run", "--config", "daemon.yaml"]));
        self.process = Some(Process::spawn(command, &self.dir.path().join("output")));
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a started daemon")
    }

    fn pid(&self, id: &str) -> Option<u64> {
        host::agent(self.port, id)?["pid"].as_u64()
    }

    /// Waits until the daemon has no fault, both agents run with every check ok or off, and each has one process.
    fn expect_healthy(&mut self, step: &'static str) -> Result<(), StepError> {
        let (port, mut last) = (self.port, String::new());
        let dir = &self.dir;
        let process = self.process.as_mut().expect("a started daemon");
        let healthy = process.wait_until(|| match host::problem(port, dir) {
            None => true,
            Some(problem) => {
                last = problem;
                false
            }
        });
        if !healthy {
            return Err((step, format!("it does not become healthy: {last}")));
        }
        Ok(())
    }

    fn record_processes(&mut self) {
        (self.a, self.b) = (self.pid("a"), self.pid("b"));
    }

    /// Kills `b`, and waits for its restart.
    fn expect_restart_after_kill(&mut self, step: &'static str) -> Result<(), StepError> {
        let before = self.b;
        if let Some(pid) = before.and_then(|pid| u32::try_from(pid).ok()) {
            signal(pid, Signal::KILL);
        }
        self.expect_new_process(step, before)
    }

    fn expect_new_process(&mut self, step: &'static str, before: Option<u64>) -> Result<(), StepError> {
        let port = self.port;
        let next = || host::agent(port, "b").and_then(|agent| agent["pid"].as_u64()).filter(|pid| Some(*pid) != before);
        // Twice, because an agent whose SIGTERM fails ends by SIGKILL after 30 s.
        if !(self.process().wait_until(|| next().is_some()) || self.process().wait_until(|| next().is_some())) {
            return Err((step, "b is not restarted".to_owned()));
        }
        self.expect_healthy(step)?;
        self.b = self.pid("b");
        Ok(())
    }

    /// Expects that `a` was not restarted.
    fn expect_not_restarted(&self, step: &'static str) -> Result<(), StepError> {
        let now = host::agent(self.port, "a").unwrap_or_default();
        if self.is_agent_failure || now["pid"].as_u64() == self.a {
            return Ok(());
        }
        let history = now["history"].as_array().cloned().unwrap_or_default();
        let causes: Vec<&str> =
            history.iter().rev().take(5).filter_map(|transition| transition["cause"].as_str()).collect();
        Err((step, format!("a was restarted; its last transitions, newest first: {}", causes.join(", "))))
    }

    /// Start, restarts, a reload, and SIGTERM.
    fn run_first(&mut self) -> Result<(), StepError> {
        self.expect_healthy("start")?;
        self.record_processes();
        self.expect_restart_after_kill("the kill of an agent")?;
        let before = self.b;
        let port = self.port;
        if !self
            .process()
            .wait_until(|| ask(port, "POST", "/agents/b/restart", "*/*").is_some_and(|(code, _)| code == 202))
        {
            return Err(("a requested restart", "the daemon does not accept it".to_owned()));
        }
        self.expect_new_process("a requested restart", before)?;
        signal(self.process().pid(), Signal::HUP);
        ask(self.port, "GET", "/metrics", "text/plain");
        self.expect_healthy("a reload")?;
        self.expect_not_restarted("a reload")?;
        self.stop("the stop", Signal::TERM)?;
        let mut running: Vec<u64> = self.dir.survivors().into_iter().map(u64::from).collect();
        running.sort_unstable();
        let a = if self.is_agent_failure { running.iter().copied().find(|pid| Some(*pid) != self.b) } else { self.a };
        let mut known: Vec<u64> = [a, self.b].into_iter().flatten().collect();
        known.sort_unstable();
        if running == known {
            Ok(())
        } else {
            Err(("the stop", format!("the agents are {known:?}, the running processes are {running:?}")))
        }
    }

    /// Adoption, a restart, and SIGINT.
    fn run_second(&mut self) -> Result<(), StepError> {
        self.expect_healthy("start")?;
        self.expect_not_restarted("the adoption")?;
        if self.pid("b") != self.b {
            return Err(("the adoption", "b was restarted instead of adopted".to_owned()));
        }
        self.expect_restart_after_kill("the kill of an adopted agent")?;
        self.stop("the stop with all agents", Signal::INT)?;
        let left = self.dir.survivors();
        if left.is_empty() { Ok(()) } else { Err(("the stop with all agents", format!("{left:?} are still running"))) }
    }

    fn stop(&mut self, step: &'static str, by: Signal) -> Result<(), StepError> {
        signal(self.process().pid(), by);
        match self.process().end_within(STOP_LIMIT) {
            None => Err((step, format!("it did not exit within {STOP_LIMIT:?}"))),
            Some(status) if status.code() == Some(0) || self.is_unsaved_registry(status.code()) => Ok(()),
            Some(status) => Err((step, format!("it exited with {status}"))),
        }
    }

    /// Whether the daemon exited with code 1 because the registry cannot be saved, and logged that. This is allowed:
    /// strace counts calls per thread, so the fault may hit the first call of every blocking thread.
    fn is_unsaved_registry(&self, code: Option<i32>) -> bool {
        let log = text(&self.sources.log);
        code == Some(1) && log.contains("\"in_order\":false") && log.contains("the registry cannot be saved")
    }

    /// Evaluates the scenario. `live`: diagnostics that the API reported during the fault.
    fn evaluate(&mut self, result: Result<(), StepError>, fault: &Fault<'_>, live: Vec<Diagnostic>) -> Outcome {
        let output = format!("{}{}", self.process().output(), text(&self.sources.log));
        if let Some(line) = panic_in(&output) {
            return Outcome::Failed(format!("it panicked: {line}"));
        }
        let registry = fs::read_to_string(self.dir.path().join("state/registry.ron"));
        if let Ok(Err(damaged)) = registry.map(|text| decode(&text)) {
            return Outcome::Failed(format!("its registry cannot be read: {damaged}"));
        }
        match result {
            Ok(()) => {
                let diagnostics = [self.sources.recorded(), live].concat();
                expectations::evaluate(Program::Daemon, fault, &diagnostics, &[])
            }
            Err((step, how)) => match self.process().ended() {
                Some(status) if step == "start" => expectations::evaluate_exit(status, fault, &output),
                Some(status) => {
                    Outcome::Failed(format!("at {step}: {how}; it exited with {status}: {}", tail(&output)))
                }
                None => Outcome::Failed(format!("at {step}: {how}: {}", tail(&output))),
            },
        }
    }

    /// Runs one part under strace.
    fn run(&mut self, part: Part, wrap: impl FnOnce(&Path, Command) -> Command) -> Result<(), StepError> {
        if part == Part::Second {
            self.begin(|_, command| command);
            self.expect_healthy("the earlier daemon, without a fault")?;
            self.record_processes();
            self.stop("the stop of the earlier daemon, without a fault", Signal::TERM)?;
            let _ = fs::remove_file(&self.sources.log);
        }
        self.begin(wrap);
        match part {
            Part::First => self.run_first(),
            Part::Second => self.run_second(),
        }
    }

    /// A daemon whose start fails must start no agent and stop no agent.
    fn check_failed_start(&self, part: Part) -> Outcome {
        let running = self.dir.survivors().len();
        let expected = if part == Part::First { 0 } else { 2 };
        if running == expected {
            Outcome::FailedToStart
        } else {
            Outcome::Failed(format!("its start failed, and {running} agents run instead of {expected}"))
        }
    }
}

/// Runs one part without a fault, and traces all calls, or only those on the daemon's own files.
pub(super) fn traced(part: Part, only_own: bool) -> (strace::Counts, Outcome) {
    let mut scenario = Scenario::prepare();
    let result = scenario.run(part, |dir, command| {
        let paths = if only_own { host::own_files(dir) } else { Vec::new() };
        strace::run(&dir.join("trace"), None, &paths, &command)
    });
    let trace = scenario.dir.path().join("trace");
    strace::wait_for_exit(&trace, scenario.process().pid());
    let counts = strace::Counts::of(&trace, only_own);
    (counts, scenario.evaluate(result, &Fault::NONE, Vec::new()))
}

/// Runs one part with one fault. Returns the outcome, and the trace of the call.
pub(super) fn run_with_fault(part: Part, call: &str, errno: &'static str, when: u64, only_own: bool) -> FaultResult {
    let mut scenario = Scenario { is_agent_failure: is_agent_failure(call, errno), ..Scenario::prepare() };
    let result = scenario.run(part, |dir, command| {
        let paths = if only_own { host::own_files(dir) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths };
        strace::run(&dir.join("trace"), Some(&injection), &[], &command)
    });
    let trace = scenario.dir.path().join("trace");
    if scenario.process().ended().is_some() {
        strace::wait_for_exit(&trace, scenario.process().pid());
    }
    let fault = Fault { call, only_own, lasting: false, lines: strace::lines(&trace) };
    let outcome = scenario.evaluate(result, &fault, Vec::new());
    let outcome = if outcome == Outcome::FailedToStart { scenario.check_failed_start(part) } else { outcome };
    (outcome, fault.lines)
}

/// Starts a daemon for lasting faults, and waits until it and its agents are healthy.
pub(super) fn start_running() -> Result<Scenario, String> {
    let mut scenario = Scenario::prepare();
    scenario.begin(|_, command| command);
    scenario.expect_healthy("start").map_err(|(_, how)| how)?;
    scenario.record_processes();
    Ok(scenario)
}

impl Scenario {
    /// Injects a lasting fault into a busy daemon, until the daemon reports it. Then the fault ends.
    pub(super) fn run_with_lasting_fault(&mut self, call: &str, errno: &'static str, only_own: bool) -> FaultResult {
        let paths = if only_own { host::own_files(self.dir.path()) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: "1+".to_owned(), paths };
        self.sources.reset();
        let (pid, to) = (self.process().pid(), self.dir.path().join("trace"));
        let Some(attached) = Attached::to(pid, &injection, &to) else {
            return (Outcome::Failed("strace cannot attach to the daemon".to_owned()), Vec::new());
        };
        self.is_agent_failure = is_agent_failure(call, errno);
        let before = self.b;
        let kill = || before.and_then(|pid| u32::try_from(pid).ok()).into_iter().for_each(|b| signal(b, Signal::KILL));
        if is_of_a_stop(call) {
            ask(self.port, "POST", "/agents/b/restart", "*/*");
        } else {
            kill();
        }
        signal(pid, Signal::HUP);
        ask(self.port, "GET", "/agents", "*/*");
        std::thread::sleep(PERIOD);
        let process = self.process.as_mut().expect("a started daemon");
        let live = expectations::wait_for_report(Program::Daemon, &attached, &self.sources, process);
        let fault = Fault { call, only_own, lasting: true, lines: attached.end() };
        if is_of_a_stop(call) {
            // A stop that could not be sent takes its whole time limit.
            kill();
        }
        let result =
            self.expect_new_process("the recovery", before).and_then(|()| self.expect_not_restarted("the recovery"));
        self.a = self.pid("a");
        (self.evaluate(result, &fault, live), fault.lines)
    }
}
