//! The scenario of an agent from start to exit, with one fault.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ops_protocol::status_file::{ReadError, StatusFile};
use ops_runtime::observe::read_status;
use rustix::process::Signal;
use statemachine::lifecycle::State;

use super::diagnostics::{Diagnostic, Sources, text};
use super::expectations::{self, Fault, Program};
use super::process::{DEADLINE, Process, StepError, ask, panic_in, tail};
use super::results::{FaultResult, Outcome};
use super::strace::{self, Attached, Injection};
use crate::support::agent::AgentDir;
use crate::support::daemon::signal;
use crate::support::peer::{Behaviour, Peer};

/// The time limit of a stop: the guaranteed 10 s, doubled for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often the agent does its periodic work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Ten times a second, so that blocking threads stay alive. strace counts calls per thread.
    Fast,
    /// So rarely that idle blocking threads end and new ones have to start.
    Slow,
}

impl Pace {
    /// The pace at which an agent repeats this call.
    pub(super) fn of(call: &str) -> Self {
        if matches!(call, "clone3" | "clone") { Self::Slow } else { Self::Fast }
    }

    const fn interval(self) -> &'static str {
        match self {
            Self::Fast => "100ms",
            Self::Slow => "700ms",
        }
    }

    /// How long a lasting fault lasts: a few rounds of all periodic work.
    const fn period(self) -> Duration {
        match self {
            Self::Fast => Duration::from_millis(400),
            Self::Slow => Duration::from_secs(2),
        }
    }
}

/// An agent with two daemons.
pub(super) struct Scenario {
    pub(super) pace: Pace,
    dir: AgentDir,
    http: Peer,
    socket: Peer,
    _notified: UnixDatagram,
    process: Process,
    sources: Sources,
    /// Texts of faults that the peers cause, so the agent may report them.
    expected_faults: Vec<String>,
}

impl Scenario {
    /// Starts an agent. `wrap` may run it under strace.
    pub(super) fn begin(pace: Pace, wrap: impl FnOnce(&Path, Command) -> Command) -> Self {
        let dir = AgentDir::new("");
        let (http, socket) = (Peer::http(), Peer::socket(&dir.path().join("peer.sock")));
        // A host name, so that name resolution is part of the scenario.
        let url = http.url().replace("127.0.0.1", "localhost");
        let route = format!("url: \"{url}\", socket_path: {}", dir.path().join("peer.sock").display());
        let interval = pace.interval();
        dir.configure(&format!(
            "heartbeat: {{ {route}, interval: {interval}, timeout: 1s, failure_threshold: 2 }}\n\
             state: {{ refresh: {interval} }}\nlog: {{ file: agent.log }}\n"
        ));
        let notified = UnixDatagram::bind(dir.path().join("notify.sock")).expect("a socket");
        let reader = notified.try_clone().expect("a descriptor");
        reader.set_read_timeout(Some(STOP_LIMIT + DEADLINE)).expect("a timeout");
        std::thread::spawn(move || while reader.recv(&mut [0; 4096]).is_ok() {});
        let mut command = dir.command(&["run", "--config", "agent.yaml"]);
        command.env("NOTIFY_SOCKET", dir.path().join("notify.sock"));
        let (log, output) = (dir.path().join("agent.log"), dir.path().join("output"));
        let process = Process::spawn(wrap(dir.path(), command), &output);
        let sources = Sources { log, output, file: Some((dir.status_file(), 0)), port: 0 };
        Self { pace, dir, http, socket, _notified: notified, process, sources, expected_faults: Vec::new() }
    }

    /// Runs all steps from start to stop.
    fn run(&mut self) -> Result<(), StepError> {
        self.start()?;
        self.work()?;
        self.stop()
    }

    fn start(&mut self) -> Result<(), StepError> {
        let file = self.dir.status_file();
        let running = || read_status(&file).ok().filter(|file| file.state == State::Running);
        if !self.process.wait_until(|| running().is_some()) {
            return Err(("start", "it did not reach Running".to_owned()));
        }
        self.sources.port =
            running().or_else(|| read_status(&file).ok()).and_then(|file| file.http).map_or(0, |http| http.port());
        Ok(())
    }

    /// All operations of an agent between start and stop.
    fn work(&mut self) -> Result<(), StepError> {
        self.expect_answer("the API", "GET", "/livez", 200)?;
        self.expect_answer("the API", "GET", "/health", 200)?;
        self.expect_answer("the API", "GET", "/metrics", 200)?;
        signal(self.process.pid(), Signal::HUP);
        self.expect_answer("the reload", "POST", "/reload", 200)?;
        let before = self.socket.received().len();
        self.http.behave(Behaviour::status(404, "", "{}"));
        let socket = &self.socket;
        if !self.process.wait_until(|| socket.received().len() > before) {
            return Err(("the socket", "it received no heartbeat".to_owned()));
        }
        self.http.behave(Behaviour::status(500, "", "{\"error\":\"test error\"}"));
        self.expect_answer("Degraded", "GET", "/health", 503)?;
        self.expected_faults.push("test error".to_owned());
        self.http.behave(Behaviour::Acknowledge);
        self.expect_running("the recovery")
    }

    /// Expects Running in the API and in the status file.
    fn expect_running(&mut self, step: &'static str) -> Result<(), StepError> {
        self.expect_answer(step, "GET", "/health", 200)?;
        self.expect_answer(step, "GET", "/livez", 200)?;
        let file = self.dir.status_file();
        if !self.process.wait_until(|| read_status(&file).is_ok_and(|file| file.state == State::Running)) {
            return Err((step, format!("its status file is not Running: {:?}", read_status(&file))));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), StepError> {
        signal(self.process.pid(), Signal::TERM);
        let Some(status) = self.process.end_within(STOP_LIMIT) else {
            return Err(("the stop", format!("it did not exit within {STOP_LIMIT:?}")));
        };
        if status.code() != Some(0) {
            return Err(("the stop", format!("it exited with {status}")));
        }
        match self.file() {
            Ok(file) if file.state == State::Stopped => Ok(()),
            // The real disk was too slow for the final write.
            Ok(_) if self.log().contains("the status file may not show how the agent ended") => Ok(()),
            other => Err(("the stop", format!("its status file is not Stopped: {other:?}"))),
        }
    }

    /// Repeats a request until the answer has this code.
    fn expect_answer(&mut self, step: &'static str, method: &str, path: &str, code: u16) -> Result<(), StepError> {
        let (port, mut last) = (self.sources.port, None);
        let answered = self.process.wait_until(|| {
            last = ask(port, method, path, "text/plain");
            last.as_ref().is_some_and(|(got, _)| *got == code)
        });
        if answered {
            Ok(())
        } else {
            Err((step, format!("{method} {path} did not answer {code}, the last answer: {last:?}")))
        }
    }

    fn file(&self) -> Result<StatusFile, ReadError> {
        read_status(&self.dir.status_file())
    }

    fn log(&self) -> String {
        text(&self.sources.log)
    }

    /// Evaluates the scenario. `live`: diagnostics that the API reported during the fault.
    fn evaluate(&mut self, result: Result<(), StepError>, fault: &Fault<'_>, live: Vec<Diagnostic>) -> Outcome {
        let output = format!("{}{}", self.process.output(), self.log());
        if let Some(line) = panic_in(&output) {
            return Outcome::Failed(format!("it panicked: {line}"));
        }
        if let Err(error) = self.file()
            && !matches!(error, ReadError::Missing)
        {
            return Outcome::Failed(format!("its status file cannot be read: {error:?}"));
        }
        match result {
            Ok(()) => {
                let diagnostics = [self.sources.recorded(), live].concat();
                expectations::evaluate(Program::Agent, fault, &diagnostics, &self.expected_faults)
            }
            Err((step, how)) => match self.process.ended() {
                // An agent that cannot start may exit with an error message.
                Some(status) if step == "start" => expectations::evaluate_exit(status, fault, &output),
                Some(status) => {
                    Outcome::Failed(format!("at {step}: {how}; it exited with {status}: {}", tail(&output)))
                }
                None => Outcome::Failed(format!("at {step}: {how}: {}", tail(&output))),
            },
        }
    }
}

/// The files and directories on which disk errors are injected.
fn own_files(dir: &Path) -> Vec<PathBuf> {
    let names =
        ["state", "state/tested.ron", "state/.tested.ron.tmp", "state/tested.ron.lock", "agent.yaml", "agent.log"];
    names.iter().map(|name| dir.join(name)).collect()
}

/// Runs the scenario without a fault, and traces all calls, or only those on the agent's own files.
pub(super) fn traced(pace: Pace, only_own: bool) -> (strace::Counts, Outcome) {
    let mut scenario = Scenario::begin(pace, |dir, command| {
        let paths = if only_own { own_files(dir) } else { Vec::new() };
        strace::run(&dir.join("trace"), None, &paths, &command)
    });
    let result = scenario.run();
    let trace = scenario.dir.path().join("trace");
    strace::wait_for_exit(&trace, scenario.process.pid());
    let counts = strace::Counts::of(&trace, only_own);
    (counts, scenario.evaluate(result, &Fault::NONE, Vec::new()))
}

/// Runs the scenario with one fault. Returns the outcome, and the trace of the call.
pub(super) fn run_with_fault(call: &str, errno: &'static str, when: u64, only_own: bool) -> FaultResult {
    let mut scenario = Scenario::begin(Pace::of(call), |dir, command| {
        let paths = if only_own { own_files(dir) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths };
        strace::run(&dir.join("trace"), Some(&injection), &[], &command)
    });
    let result = scenario.run();
    let trace = scenario.dir.path().join("trace");
    if scenario.process.ended().is_some() {
        strace::wait_for_exit(&trace, scenario.process.pid());
    }
    let fault = Fault { call, only_own, lasting: false, lines: strace::lines(&trace) };
    (scenario.evaluate(result, &fault, Vec::new()), fault.lines)
}

/// Starts an agent for lasting faults, and waits until it is Running.
pub(super) fn start_running(pace: Pace) -> Result<Scenario, String> {
    let mut scenario = Scenario::begin(pace, |_, command| command);
    scenario.start().map_err(|(_, how)| how)?;
    Ok(scenario)
}

impl Scenario {
    /// Injects a lasting fault into a busy agent, until the agent reports it. Then the fault ends.
    pub(super) fn run_with_lasting_fault(&mut self, call: &str, errno: &'static str, only_own: bool) -> FaultResult {
        let paths = if only_own { own_files(self.dir.path()) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: "1+".to_owned(), paths };
        self.sources.reset();
        let to = self.dir.path().join("trace");
        let Some(attached) = Attached::to(self.process.pid(), &injection, &to) else {
            return (Outcome::Failed("strace cannot attach to the agent".to_owned()), Vec::new());
        };
        // The agent has to open new connections.
        self.http.hang_up();
        self.socket.hang_up();
        signal(self.process.pid(), Signal::HUP);
        let port = self.sources.port;
        ask(port, "GET", "/metrics", "text/plain");
        ask(port, "POST", "/reload", "*/*");
        std::thread::sleep(self.pace.period());
        // Faults of other calls must not affect the API.
        let api_unaffected = only_own || self.pace == Pace::Slow;
        let is_alive = || ask(port, "GET", "/livez", "*/*").is_some_and(|(code, _)| code == 200);
        let no_answer = api_unaffected && !self.process.wait_until(is_alive);
        let live = expectations::wait_for_report(Program::Agent, &attached, &self.sources, &mut self.process);
        let fault = Fault { call, only_own, lasting: true, lines: attached.end() };
        let result = match no_answer {
            true => Err(("the fault", "GET /livez was not answered during the fault".to_owned())),
            false => self.expect_running("the recovery").map(|()| self.trigger_lost_lines_report(&fault)),
        };
        (self.evaluate(result, &fault, live), fault.lines)
    }

    /// Makes the agent write one more log line, if its log has not yet reported lost lines.
    fn trigger_lost_lines_report(&mut self, fault: &Fault<'_>) {
        let sources = &self.sources;
        if expectations::is_report_missing(fault, &sources.recorded()) {
            signal(self.process.pid(), Signal::HUP);
            self.process.wait_until(|| !expectations::is_report_missing(fault, &sources.recorded()));
        }
    }
}
