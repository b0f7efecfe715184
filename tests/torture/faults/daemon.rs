//! A whole life of a daemon with two agents, with a fault in it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ops_agent::testing::daemon::registry::decode;
use rustix::process::Signal;

use super::diagnostics::{Ears, Voice, text};
use super::expectations::{self, Fault, Program};
use super::host::{self, Host};
use super::process::{Body, Trouble, ask, panic_in, tail};
use super::results::Class;
use super::strace::{self, Attached, Injection};
use super::table::speaks_of_the_agent;
use crate::support::daemon::{DaemonDir, signal};

/// How long a stop may take: the thirty seconds that an agent has which was not told to end, and as much for the machine.
const STOP: Duration = Duration::from_secs(60);

/// How long a fault lasts that is not over at once: a few rounds of every check.
const PERIOD: Duration = Duration::from_millis(800);

/// Which part of a daemon's life a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It starts its agents, and leaves them running in the end.
    First,
    /// It takes over what an earlier one has left, and stops everything in the end.
    Second,
}

/// A daemon with two agents: `a` is this project's and is looked at in all five ways, `b` is a program that only exists.
pub(super) struct Life {
    site: DaemonDir,
    /// Ports that are kept for daemon and agent, though nobody listens on them yet.
    _held: [OwnedFd; 2],
    port: u16,
    ears: Ears,
    body: Option<Body>,
    a: Option<u64>,
    b: Option<u64>,
    /// The fault is one that only the agent can be blamed for.
    blamed: bool,
}

impl Life {
    fn prepare() -> Self {
        let Host { site, held, port } = Host::new();
        let (log, said) = (site.path().join("daemon.log"), site.path().join("said"));
        let ears = Ears { log, said, file: None, port };
        Self { site, _held: held, port, ears, body: None, a: None, b: None, blamed: false }
    }

    fn begin(&mut self, under: impl FnOnce(&Path, Command) -> Command) {
        let command = under(self.site.path(), self.site.command(&["run", "--config", "daemon.yaml"]));
        self.body = Some(Body::spawn(command, &self.site.path().join("said")));
    }

    fn body(&mut self) -> &mut Body {
        self.body.as_mut().expect("a daemon that was begun")
    }

    fn pid(&self, id: &str) -> Option<u64> {
        host::agent(self.port, id)?["pid"].as_u64()
    }

    /// Until the daemon has no fault, both agents run, nothing about them is bad or unknown, and each is there once.
    fn well(&mut self, station: &'static str) -> Result<(), Trouble> {
        let (port, mut last) = (self.port, String::new());
        let site = &self.site;
        let body = self.body.as_mut().expect("a daemon that was begun");
        let came = body.until(|| match host::unwell(port, site) {
            None => true,
            Some(what) => {
                last = what;
                false
            }
        });
        if !came {
            return Err((station, format!("it does not become well: {last}")));
        }
        Ok(())
    }

    fn note_processes(&mut self) {
        (self.a, self.b) = (self.pid("a"), self.pid("b"));
    }

    /// Kills an agent, and waits for the next process.
    fn restarted(&mut self, station: &'static str) -> Result<(), Trouble> {
        let before = self.b;
        if let Some(pid) = before.and_then(|pid| u32::try_from(pid).ok()) {
            signal(pid, Signal::KILL);
        }
        self.another(station, before)
    }

    fn another(&mut self, station: &'static str, before: Option<u64>) -> Result<(), Trouble> {
        let port = self.port;
        let next = || host::agent(port, "b").and_then(|agent| agent["pid"].as_u64()).filter(|pid| Some(*pid) != before);
        if !self.body().until(|| next().is_some()) {
            return Err((station, "b is not started again".to_owned()));
        }
        self.well(station)?;
        self.b = self.pid("b");
        Ok(())
    }

    /// That the agent that is in order has not been touched.
    fn untouched(&self, station: &'static str) -> Result<(), Trouble> {
        let now = host::agent(self.port, "a").unwrap_or_default();
        if self.blamed || now["pid"].as_u64() == self.a {
            return Ok(());
        }
        let history = now["history"].as_array().cloned().unwrap_or_default();
        let causes: Vec<&str> = history.iter().rev().take(5).filter_map(|moved| moved["cause"].as_str()).collect();
        Err((station, format!("a was restarted without cause; the latest first: {}", causes.join(", "))))
    }

    /// Starts, restarts, reloads, and leaves.
    fn first(&mut self) -> Result<(), Trouble> {
        self.well("start")?;
        self.note_processes();
        self.restarted("the death of an agent")?;
        let before = self.b;
        let port = self.port;
        if !self.body().until(|| ask(port, "POST", "/agents/b/restart", "*/*").is_some_and(|(code, _)| code == 202)) {
            return Err(("a restart that was asked for", "it is not accepted".to_owned()));
        }
        self.another("a restart that was asked for", before)?;
        signal(self.body().pid(), Signal::HUP);
        ask(self.port, "GET", "/metrics", "text/plain");
        self.well("a reload")?;
        self.untouched("a reload")?;
        self.end("the stop", Signal::TERM)?;
        let mut here: Vec<u64> = self.site.survivors().into_iter().map(u64::from).collect();
        here.sort_unstable();
        let a = if self.blamed { here.iter().copied().find(|pid| Some(*pid) != self.b) } else { self.a };
        let mut known: Vec<u64> = [a, self.b].into_iter().flatten().collect();
        known.sort_unstable();
        if here == known { Ok(()) } else { Err(("the stop", format!("of {known:?} there are {here:?} left"))) }
    }

    /// Takes over, and stops everything.
    fn second(&mut self) -> Result<(), Trouble> {
        self.well("start")?;
        self.untouched("the adoption")?;
        if self.pid("b") != self.b {
            return Err(("the adoption", "b was not adopted, but started anew".to_owned()));
        }
        self.restarted("the death of an adopted agent")?;
        self.end("the stop of everything", Signal::INT)?;
        let left = self.site.survivors();
        if left.is_empty() { Ok(()) } else { Err(("the stop of everything", format!("{left:?} are left"))) }
    }

    fn end(&mut self, station: &'static str, by: Signal) -> Result<(), Trouble> {
        signal(self.body().pid(), by);
        match self.body().end_within(STOP) {
            None => Err((station, format!("it did not end within {STOP:?}"))),
            Some(status) if status.code() == Some(0) || self.left_unsaved(status.code()) => Ok(()),
            Some(status) => Err((station, format!("it ended with {status}"))),
        }
    }

    /// Whether it left a registry that could not be saved, and says so. The pool's threads come and go, and strace counts for
    /// each: so a fault in one call may be one in every thread's first.
    fn left_unsaved(&self, code: Option<i32>) -> bool {
        let log = text(&self.ears.log);
        code == Some(1) && log.contains("\"in_order\":false") && log.contains("the registry cannot be saved")
    }

    /// What became of it. `at_once`: what it has said beside what is on record.
    fn judge(&mut self, lived: Result<(), Trouble>, fault: &Fault<'_>, at_once: Vec<Voice>) -> Class {
        let words = format!("{}{}", self.body().said(), text(&self.ears.log));
        if let Some(line) = panic_in(&words) {
            return Class::Lost(format!("it panicked: {line}"));
        }
        let registry = fs::read_to_string(self.site.path().join("state/registry.ron"));
        if let Ok(Err(damaged)) = registry.map(|text| decode(&text)) {
            return Class::Lost(format!("its registry is of no use: {damaged}"));
        }
        match lived {
            Ok(()) => {
                let voices = [self.ears.recorded(), at_once].concat();
                expectations::judge(Program::Daemon, fault, &voices, &[])
            }
            Err((station, how)) => match self.body().ended() {
                Some(status) if station == "start" => expectations::judge_end(status, fault, &words),
                Some(status) => Class::Lost(format!("at {station}: {how}; it ended with {status}: {}", tail(&words))),
                None => Class::Lost(format!("at {station}: {how}: {}", tail(&words))),
            },
        }
    }

    /// One part of a life under strace.
    fn live(&mut self, part: Part, under: impl FnOnce(&Path, Command) -> Command) -> Result<(), Trouble> {
        if part == Part::Second {
            self.begin(|_, command| command);
            self.well("the life before, without a fault")?;
            self.note_processes();
            self.end("the end of the life before, without a fault", Signal::TERM)?;
            let _ = fs::remove_file(&self.ears.log);
        }
        self.begin(under);
        match part {
            Part::First => self.first(),
            Part::Second => self.second(),
        }
    }

    /// A daemon that does not come up starts nothing, and touches nothing that runs.
    fn after_a_start_that_failed(&self, part: Part) -> Class {
        let here = self.site.survivors().len();
        let expected = if part == Part::First { 0 } else { 2 };
        if here == expected {
            Class::Ended
        } else {
            Class::Lost(format!("it did not start, and left {here} processes"))
        }
    }
}

/// A part of a life without a fault, traced: all calls, or only those on its own files.
pub(super) fn traced(part: Part, only_own: bool) -> (strace::Counts, Class) {
    let mut life = Life::prepare();
    let lived = life.live(part, |site, command| {
        let paths = if only_own { host::own_files(site) } else { Vec::new() };
        strace::run(&site.join("trace"), None, &paths, &command)
    });
    let trace = life.site.path().join("trace");
    strace::settled(&trace, life.body().pid());
    let counts = strace::Counts::of(&trace, only_own);
    (counts, life.judge(lived, &Fault::NONE, Vec::new()))
}

/// A part of a life with one fault in it.
pub(super) fn with(part: Part, call: &str, errno: &'static str, when: u64, only_own: bool) -> (Class, Vec<String>) {
    let mut life = Life { blamed: speaks_of_the_agent(call, errno), ..Life::prepare() };
    let lived = life.live(part, |site, command| {
        let paths = if only_own { host::own_files(site) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths };
        strace::run(&site.join("trace"), Some(&injection), &[], &command)
    });
    let trace = life.site.path().join("trace");
    if life.body().ended().is_some() {
        strace::settled(&trace, life.body().pid());
    }
    let fault = Fault { call, only_own, lasting: false, lines: strace::lines(&trace) };
    let class = life.judge(lived, &fault, Vec::new());
    let class = if class == Class::Ended { life.after_a_start_that_failed(part) } else { class };
    (class, fault.lines)
}

/// A daemon whose agents are well, for faults that last.
pub(super) fn running() -> Result<Life, String> {
    let mut life = Life::prepare();
    life.begin(|_, command| command);
    life.well("start").map_err(|(_, how)| how)?;
    life.note_processes();
    Ok(life)
}

impl Life {
    /// A fault that lasts while an agent dies and much is asked, until it is named as it has to be, and then is over.
    pub(super) fn endure(&mut self, call: &str, errno: &'static str, only_own: bool) -> (Class, Vec<String>) {
        let paths = if only_own { host::own_files(self.site.path()) } else { Vec::new() };
        let injection = Injection { call: call.to_owned(), errno, when: "1+".to_owned(), paths };
        self.ears.begin_anew();
        let (pid, to) = (self.body().pid(), self.site.path().join("trace"));
        let Some(attached) = Attached::to(pid, &injection, &to) else {
            return (Class::Lost("strace could not attach to it".to_owned()), Vec::new());
        };
        self.blamed = speaks_of_the_agent(call, errno);
        let before = self.b;
        if let Some(b) = before.and_then(|pid| u32::try_from(pid).ok()) {
            signal(b, Signal::KILL);
        }
        signal(pid, Signal::HUP);
        ask(self.port, "GET", "/agents", "*/*");
        std::thread::sleep(PERIOD);
        let body = self.body.as_mut().expect("a daemon that was begun");
        let at_once = expectations::hear_out(Program::Daemon, &attached, &self.ears, body);
        let fault = Fault { call, only_own, lasting: true, lines: attached.end() };
        let lived = self.another("the recovery", before).and_then(|()| self.untouched("the recovery"));
        self.a = self.pid("a");
        (self.judge(lived, &fault, at_once), fault.lines)
    }
}
