//! A whole life of an agent, with a fault in it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ops_protocol::status_file::{ReadError, StatusFile};
use ops_runtime::observe::read_status;
use rustix::process::Signal;
use statemachine::lifecycle::State;

use super::diagnostics::{Ears, Voice, text};
use super::expectations::{self, Fault, Program};
use super::process::{Body, DEADLINE, Trouble, ask, panic_in, tail};
use super::results::Class;
use super::strace::{self, Attached, Injection};
use crate::support::agent::AgentDir;
use crate::support::daemon::signal;
use crate::support::peer::{Behaviour, Peer};

/// How long a stop may take: the ten seconds that are promised, and as much for the machine.
const STOP: Duration = Duration::from_secs(20);

/// How often it does what it does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Ten times a second, so that threads stay at work, and strace, which counts for each thread, tells one call from another.
    Brisk,
    /// So rarely that threads without work end, and new ones have to be had.
    Calm,
}

impl Pace {
    /// At which pace this call is made again and again.
    pub(super) fn of(call: &str) -> Self {
        if matches!(call, "clone3" | "clone") { Self::Calm } else { Self::Brisk }
    }

    const fn every(self) -> &'static str {
        match self {
            Self::Brisk => "100ms",
            Self::Calm => "700ms",
        }
    }

    /// How long a fault lasts that is not over at once: a few rounds of everything.
    const fn period(self) -> Duration {
        match self {
            Self::Brisk => Duration::from_millis(400),
            Self::Calm => Duration::from_secs(2),
        }
    }
}

/// An agent with two daemons to talk to.
pub(super) struct Life {
    pub(super) pace: Pace,
    home: AgentDir,
    http: Peer,
    socket: Peer,
    _notified: UnixDatagram,
    body: Body,
    ears: Ears,
    /// Words of the faults that its peers made it report, and that so it may report.
    provoked: Vec<String>,
}

impl Life {
    /// Starts one, under strace or not.
    pub(super) fn begin(pace: Pace, under: impl FnOnce(&Path, Command) -> Command) -> Self {
        let home = AgentDir::new("");
        let (http, socket) = (Peer::http(), Peer::socket(&home.path().join("peer.sock")));
        // By name, so that the look-up is part of it.
        let url = http.url().replace("127.0.0.1", "localhost");
        let route = format!("url: \"{url}\", socket_path: {}", home.path().join("peer.sock").display());
        let every = pace.every();
        home.configure(&format!(
            "heartbeat: {{ {route}, interval: {every}, timeout: 1s, failure_threshold: 2 }}\n\
             state: {{ refresh: {every} }}\nlog: {{ file: agent.log }}\n"
        ));
        let notified = UnixDatagram::bind(home.path().join("notify.sock")).expect("a socket");
        let reader = notified.try_clone().expect("a second hold on it");
        reader.set_read_timeout(Some(STOP + DEADLINE)).expect("a timeout");
        std::thread::spawn(move || while reader.recv(&mut [0; 4096]).is_ok() {});
        let mut command = home.command(&["run", "--config", "agent.yaml"]);
        command.env("NOTIFY_SOCKET", home.path().join("notify.sock"));
        let (log, said) = (home.path().join("agent.log"), home.path().join("said"));
        let body = Body::spawn(under(home.path(), command), &said);
        let ears = Ears { log, said, file: Some((home.status_file(), 0)), port: 0 };
        Self { pace, home, http, socket, _notified: notified, body, ears, provoked: Vec::new() }
    }

    /// A life from start to stop. `Err`: where it went wrong, and how.
    fn live(&mut self) -> Result<(), Trouble> {
        self.start()?;
        self.work()?;
        self.stop()
    }

    fn start(&mut self) -> Result<(), Trouble> {
        let file = self.home.status_file();
        let running = || read_status(&file).ok().filter(|file| file.state == State::Running);
        if !self.body.until(|| running().is_some()) {
            return Err(("start", "it never came to Running".to_owned()));
        }
        self.ears.port =
            running().or_else(|| read_status(&file).ok()).and_then(|file| file.http).map_or(0, |http| http.port());
        Ok(())
    }

    /// Everything that an agent does between start and stop.
    fn work(&mut self) -> Result<(), Trouble> {
        self.answered("the API", "GET", "/livez", 200)?;
        self.answered("the API", "GET", "/health", 200)?;
        self.answered("the API", "GET", "/metrics", 200)?;
        signal(self.body.pid(), Signal::HUP);
        self.answered("the reload", "POST", "/reload", 200)?;
        let before = self.socket.received().len();
        self.http.behave(Behaviour::status(404, "", "{}"));
        let socket = &self.socket;
        if !self.body.until(|| socket.received().len() > before) {
            return Err(("the socket", "no heartbeat came over it".to_owned()));
        }
        self.http.behave(Behaviour::status(500, "", "{\"error\":\"as asked\"}"));
        self.answered("Degraded", "GET", "/health", 503)?;
        self.provoked.push("as asked".to_owned());
        self.http.behave(Behaviour::Acknowledge);
        self.well("the recovery")
    }

    /// Running, by its own word and by its file.
    fn well(&mut self, station: &'static str) -> Result<(), Trouble> {
        self.answered(station, "GET", "/health", 200)?;
        self.answered(station, "GET", "/livez", 200)?;
        let file = self.home.status_file();
        if !self.body.until(|| read_status(&file).is_ok_and(|file| file.state == State::Running)) {
            return Err((station, format!("its file does not say Running: {:?}", read_status(&file))));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Trouble> {
        signal(self.body.pid(), Signal::TERM);
        let Some(status) = self.body.end_within(STOP) else {
            return Err(("the stop", format!("it did not end within {STOP:?}")));
        };
        if status.code() != Some(0) {
            return Err(("the stop", format!("it ended with {status}")));
        }
        match self.file() {
            Ok(file) if file.state == State::Stopped => Ok(()),
            // The machine's own disk was busy for longer than the agent waits for any.
            Ok(_) if self.log().contains("the status file may not show how the agent ended") => Ok(()),
            other => Err(("the stop", format!("its file does not say Stopped: {other:?}"))),
        }
    }

    /// Asks until the answer has this code.
    fn answered(&mut self, station: &'static str, method: &str, path: &str, code: u16) -> Result<(), Trouble> {
        let (port, mut last) = (self.ears.port, None);
        let came = self.body.until(|| {
            last = ask(port, method, path, "text/plain");
            last.as_ref().is_some_and(|(got, _)| *got == code)
        });
        if came { Ok(()) } else { Err((station, format!("{method} {path} never answered {code}, the last: {last:?}"))) }
    }

    fn file(&self) -> Result<StatusFile, ReadError> {
        read_status(&self.home.status_file())
    }

    fn log(&self) -> String {
        text(&self.ears.log)
    }

    /// What became of it. `at_once`: what it has said beside what is on record.
    fn judge(&mut self, lived: Result<(), Trouble>, fault: &Fault<'_>, at_once: Vec<Voice>) -> Class {
        let words = format!("{}{}", self.body.said(), self.log());
        if let Some(line) = panic_in(&words) {
            return Class::Lost(format!("it panicked: {line}"));
        }
        if let Err(error) = self.file()
            && !matches!(error, ReadError::Missing)
        {
            return Class::Lost(format!("its status file is of no use: {error:?}"));
        }
        match lived {
            Ok(()) => {
                let voices = [self.ears.recorded(), at_once].concat();
                expectations::judge(Program::Agent, fault, &voices, &self.provoked)
            }
            Err((station, how)) => match self.body.ended() {
                // Before it was Running, it may say why it cannot be, and leave.
                Some(status) if station == "start" => expectations::judge_end(status, fault, &words),
                Some(status) => Class::Lost(format!("at {station}: {how}; it ended with {status}: {}", tail(&words))),
                None => Class::Lost(format!("at {station}: {how}: {}", tail(&words))),
            },
        }
    }
}

/// The files of a life on which a disk's errors may be given.
fn own_files(home: &Path) -> Vec<PathBuf> {
    let names =
        ["state", "state/tested.ron", "state/.tested.ron.tmp", "state/tested.ron.lock", "agent.yaml", "agent.log"];
    names.iter().map(|name| home.join(name)).collect()
}

/// A life without a fault, traced to the end: all calls, or only those on its own files.
pub(super) fn traced(pace: Pace, only_own: bool) -> (strace::Counts, Class) {
    let mut life = Life::begin(pace, |home, command| {
        let paths = if only_own { own_files(home) } else { Vec::new() };
        strace::run(&home.join("trace"), None, &paths, &command)
    });
    let lived = life.live();
    let trace = life.home.path().join("trace");
    strace::settled(&trace, life.body.pid());
    let counts = strace::Counts::of(&trace, only_own);
    (counts, life.judge(lived, &Fault::NONE, Vec::new()))
}

/// A life with one fault in it from the start, or a few: what became of it, and the trace of these calls.
pub(super) fn with(call: &str, errno: &'static str, when: u64, only_own: bool) -> (Class, Vec<String>) {
    let mut life = Life::begin(Pace::of(call), |home, command| {
        let paths = if only_own { own_files(home) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths };
        strace::run(&home.join("trace"), Some(&injection), &[], &command)
    });
    let lived = life.live();
    let trace = life.home.path().join("trace");
    if life.body.ended().is_some() {
        strace::settled(&trace, life.body.pid());
    }
    let fault = Fault { call, only_own, lasting: false, lines: strace::lines(&trace) };
    (life.judge(lived, &fault, Vec::new()), fault.lines)
}

/// An agent that has come to Running, for faults that last.
pub(super) fn running(pace: Pace) -> Result<Life, String> {
    let mut life = Life::begin(pace, |_, command| command);
    life.start().map_err(|(_, how)| how)?;
    Ok(life)
}

impl Life {
    /// A fault that lasts while much is asked of the agent, until it is named as it has to be, and then is over.
    pub(super) fn endure(&mut self, call: &str, errno: &'static str, only_own: bool) -> (Class, Vec<String>) {
        let paths = if only_own { own_files(self.home.path()) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: "1+".to_owned(), paths };
        self.ears.begin_anew();
        let to = self.home.path().join("trace");
        let Some(attached) = Attached::to(self.body.pid(), &injection, &to) else {
            return (Class::Lost("strace could not attach to it".to_owned()), Vec::new());
        };
        // So that it has to connect anew.
        self.http.hang_up();
        self.socket.hang_up();
        signal(self.body.pid(), Signal::HUP);
        let port = self.ears.port;
        ask(port, "GET", "/metrics", "text/plain");
        ask(port, "POST", "/reload", "*/*");
        std::thread::sleep(self.pace.period());
        // What has nothing to do with the API must not keep it from answering.
        let aside = only_own || self.pace == Pace::Calm;
        let is_alive = || ask(port, "GET", "/livez", "*/*").is_some_and(|(code, _)| code == 200);
        let deaf = aside && !self.body.until(is_alive);
        let at_once = expectations::hear_out(Program::Agent, &attached, &self.ears, &mut self.body);
        let fault = Fault { call, only_own, lasting: true, lines: attached.end() };
        let lived = match deaf {
            true => Err(("the fault", "GET /livez was not answered while it lasted".to_owned())),
            false => self.well("the recovery").map(|()| self.say_what_is_missing(&fault)),
        };
        (self.judge(lived, &fault, at_once), fault.lines)
    }

    /// Gives it a reason for one more line in its log, if it has yet to say there that others are missing.
    fn say_what_is_missing(&mut self, fault: &Fault<'_>) {
        let ears = &self.ears;
        if expectations::is_log_short(fault, &ears.recorded()) {
            signal(self.body.pid(), Signal::HUP);
            self.body.until(|| !expectations::is_log_short(fault, &ears.recorded()));
        }
    }
}
