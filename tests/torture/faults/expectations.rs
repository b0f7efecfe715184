//! What a failed call must be called: the one place that says which fault a program has to name for which call, and which
//! faults it must not name.
//!
//! What is said of a failed call carries the system's own words for the error, and strace writes down the same words. So
//! it is not enough that something is said: it has to be of this error, and by the right name.

use std::collections::BTreeSet;
use std::process::ExitStatus;

use super::diagnostics::{Ears, Voice, who_said};
use super::process::{Body, disorder};
use super::results::Class;
use super::strace::{Attached, reason, struck};

/// Whose life it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Agent,
    Daemon,
}

/// What was done to it.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) call: &'a str,
    pub(super) only_own: bool,
    pub(super) lasting: bool,
    /// A trace of these calls.
    pub(super) lines: Vec<String>,
}

impl Fault<'_> {
    /// None.
    pub(super) const NONE: Self = Self { call: "", only_own: false, lasting: false, lines: Vec::new() };
}

/// Which errors of a call.
enum Errors {
    AllBut(&'static [&'static str]),
    Only(&'static [&'static str]),
}

/// What has to be said.
struct Due {
    calls: &'static [&'static str],
    /// What the call is made on: its line has all of these.
    on: &'static [&'static str],
    errors: Errors,
    /// Only of a fault that lasts: a single one is made good by the next try.
    lasting: bool,
    /// It is said as one of these faults, or in a sentence that has one of these words.
    by: &'static [&'static str],
}

const fn due(calls: &'static [&'static str], on: &'static [&'static str], by: &'static [&'static str]) -> Due {
    Due { calls, on, errors: Errors::AllBut(&["EINTR"]), lasting: false, by }
}

/// An error of the listener's own. Any other is the end of one connection.
const NOT_ACCEPTING: Errors = Errors::Only(&["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "ENETUNREACH"]);

/// What every one of the peers says of a heartbeat that cannot be brought to it. `EAGAIN` is none: it means later.
const NOT_SENT: Errors = Errors::AllBut(&["EAGAIN", "EINTR"]);

const AGENT: &[Due] = &[
    due(&["openat", "renameat"], &["\".tested.ron.tmp\"", "/state>"], &["status_file", "status file"]),
    due(&["write", "fsync"], &["/.tested.ron.tmp>"], &["status_file", "status file"]),
    due(&["fsync"], &["/state>"], &["status_file", "status file", "not noted"]),
    due(&["pwrite64", "fsync"], &["/tested.ron.lock>"], &["status_file", "status file", "not noted"]),
    due(&["openat", "read"], &["agent.yaml"], &["configuration", "agent.yaml"]),
    due(&["openat"], &["agent.log\""], &["log file"]),
    due(&["openat"], &["\"/proc/", "O_PATH"], &["resources"]),
    Due { errors: NOT_ACCEPTING, ..due(&["accept4"], &[], &["http"]) },
    Due { errors: NOT_SENT, lasting: true, ..due(&["connect", "sendto", "recvfrom"], &[], &["heartbeat"]) },
];

const DAEMON: &[Due] = &[
    due(&["openat", "renameat"], &["\".registry.ron.tmp\"", "/state>"], &["registry"]),
    due(&["write", "fsync"], &["/.registry.ron.tmp>"], &["registry"]),
    due(&["fsync"], &["/state>"], &["registry", "lock file"]),
    due(&["pwrite64", "fsync"], &["/registry.ron.lock>"], &["registry", "lock file"]),
    due(&["openat", "read"], &["daemon.yaml"], &["configuration", "daemon.yaml"]),
    due(&["openat"], &["daemon.log\""], &["log file"]),
    Due { errors: NOT_ACCEPTING, ..due(&["accept4"], &[], &["http", "socket"]) },
    due(&["vfork", "clone", "clone3"], &["CLONE_VFORK"], &["not started"]),
    due(&["execve"], &[], &["not started"]),
    due(&["open"], &["/logs/agent.log\"", "O_APPEND"], &["not started"]),
    Due { errors: Errors::Only(&["EPERM"]), ..due(&["kill"], &[], &["signalled", "cannot be killed"]) },
    // Without leave to read it, and without a disk that lets one: that is never held against the agent, but said.
    Due {
        errors: Errors::AllBut(&["EINTR", "ENOENT"]),
        lasting: true,
        ..due(&["open", "openat", "read"], &["/agents/a/state/a.ron"], &["cannot read it"])
    },
];

/// Calls and errors of which it is said in other words than the system's, and in which.
const OTHER_WORDS: &[(&str, &str, &str)] = &[
    ("flock(", "= -1 EAGAIN", "another"),
    ("connect(", "= -1 ECONNREFUSED", "connection refused by"),
    // The program is there; so it is what should run it that is not.
    ("execve(", "= -1 ENOENT", "the interpreter of"),
    // The library that samples the process keeps the error to itself.
    ("O_PATH", "= -1 ", "cannot be read under /proc"),
    // libc makes one of every failure to start a thread.
    ("CLONE_THREAD", "= -1 ", "Resource temporarily unavailable"),
];

/// What a program may say of it, in which words.
fn reasons(line: &str) -> impl Iterator<Item = &str> {
    let is_of = |(call, errno, _): &&(&str, &str, &str)| line.contains(call) && line.contains(errno);
    let others = OTHER_WORDS.iter().filter(is_of).map(|(.., words)| *words);
    reason(line).into_iter().flat_map(move |words| std::iter::once(words).chain(others.clone()))
}

/// What came of a fault in a life in which all else was as it should be.
pub(super) fn judge(program: Program, fault: &Fault<'_>, voices: &[Voice], provoked: &[String]) -> Class {
    let Fault { call, only_own, lasting, lines } = fault;
    let amiss = unsaid(program, lines, *lasting, voices)
        .or_else(|| is_log_short(fault, voices).then(|| "its log does not say that lines are missing".to_owned()))
        .or_else(|| wrong(program, (call, *only_own), voices, provoked));
    if let Some(amiss) = amiss {
        return Class::Lost(amiss);
    }
    let reasons: BTreeSet<&str> = struck(lines).into_iter().flat_map(|line| reasons(line)).collect();
    let named: BTreeSet<String> = reasons.iter().flat_map(|words| who_said(voices, words)).collect();
    if named.is_empty() { Class::RodeOut } else { Class::Named(named) }
}

/// What came of one that kept the program from starting: an end in order, with the reason in its last words.
pub(super) fn judge_end(status: ExitStatus, fault: &Fault<'_>, words: &str) -> Class {
    let struck = struck(&fault.lines);
    let is_said = |line: &&String| reasons(line).any(|reason| words.contains(reason));
    match disorder(status, words) {
        Some(disorder) => Class::Lost(format!("at the start, {disorder}")),
        None if !struck.is_empty() && !struck.iter().any(is_said) => {
            Class::Lost(format!("at the start, it ended for another reason than the one it had: {words}"))
        }
        None => Class::Ended,
    }
}

/// Keeps a fault up until it is told of as it has to be, and gives back what is said only as long as it lasts.
pub(super) fn hear_out(program: Program, attached: &Attached, ears: &Ears, body: &mut Body) -> Vec<Voice> {
    let mut at_once: Vec<Voice> = Vec::new();
    body.until(|| {
        let lines = attached.so_far();
        let is_all_said = |voices: &[Voice]| unsaid(program, &lines, true, voices).is_none();
        let is_named = |voices: &[Voice]| {
            let mut reasons = struck(&lines).into_iter().flat_map(|line| reasons(line));
            reasons.any(|words| !who_said(voices, words).is_empty())
        };
        let recorded = ears.recorded();
        // Nobody is asked without need: whoever is may be kept from answering.
        if is_named(&recorded) && is_all_said(&recorded) {
            return true;
        }
        for voice in ears.at_once() {
            if !at_once.contains(&voice) {
                at_once.push(voice);
            }
        }
        is_all_said(&[recorded, at_once.clone()].concat())
    });
    at_once
}

/// What is missing from what was said: a call that failed, and what it should have been called. `lines` are a trace of the
/// calls among which some were made to fail.
fn unsaid(program: Program, lines: &[String], lasting: bool, voices: &[Voice]) -> Option<String> {
    let dues = match program {
        Program::Agent => AGENT,
        Program::Daemon => DAEMON,
    };
    for line in lines {
        let Some(words) = reason(line) else { continue };
        for due in dues.iter().filter(|due| (lasting || !due.lasting) && due.is_of(line)) {
            let said = |voice: &&Voice| due.by.iter().any(|name| voice.of == *name || voice.words.contains(name));
            let by_name: Vec<Voice> = voices.iter().filter(said).cloned().collect();
            // What waits for the disk for too long is told of as that, and hears of the error later.
            let slow = by_name.iter().any(|voice| is_slowness(&voice.words));
            if !slow && reasons(line).all(|words| who_said(&by_name, words).is_empty()) {
                return Some(format!("`{words}` of {line} is not said by the name of {}", due.by.join(" or ")));
            }
        }
    }
    None
}

impl Due {
    fn is_of(&self, line: &str) -> bool {
        let is_call = |call: &&str| line.split_once('(').is_some_and(|(head, _)| head.ends_with(&format!(" {call}")));
        let is_error = |errno: &&str| line.contains(&format!("= -1 {errno} ("));
        let is_right = match self.errors {
            Errors::AllBut(others) => !others.iter().any(is_error),
            Errors::Only(these) => these.iter().any(is_error),
        };
        is_right && self.calls.iter().any(is_call) && self.on.iter().all(|part| line.contains(part))
    }
}

/// Whether the log has yet to say that a line is missing: one could not be written, and another one was later or will be.
pub(super) fn is_log_short(fault: &Fault<'_>, voices: &[Voice]) -> bool {
    let to_log = |line: &String| line.contains(" write(") && line.contains(".log>");
    let is_lost = |line: &String| to_log(line) && reason(line).is_some() && !line.contains("= -1 EINTR");
    let last = fault.lines.iter().rposition(|line| to_log(line) && reason(line).is_none());
    let end = if fault.lasting { fault.lines.len() } else { last.unwrap_or(0) };
    let is_told = |voice: &Voice| voice.words.contains("log lines were lost");
    fault.lines.get(..end).unwrap_or_default().iter().any(is_lost) && !voices.iter().any(is_told)
}

/// The faults that may be named where only this call was made to fail. `None`: any.
fn allowed(program: Program, call: &str, only_own: bool) -> Option<&'static [&'static str]> {
    match (program, call) {
        (Program::Agent, _) if only_own => Some(&["status_file"]),
        (Program::Agent, "accept4") => Some(&["http"]),
        (Program::Agent, "connect" | "sendto" | "recvfrom") => Some(&["heartbeat"]),
        (Program::Daemon, _) if only_own => Some(&["registry"]),
        (Program::Daemon, "accept4") => Some(&["http", "socket"]),
        (Program::Daemon, "connect" | "sendto" | "recvfrom") => Some(&[]),
        _ => None,
    }
}

/// A fault that has nothing to do with the call that was made to fail, nor was provoked otherwise.
fn wrong(program: Program, (call, only_own): (&str, bool), voices: &[Voice], provoked: &[String]) -> Option<String> {
    const FAULTS: &[&str] = &["heartbeat", "http", "resources", "socket", "status_file", "registry"];
    let allowed = allowed(program, call, only_own)?;
    let is_wrong = |voice: &&Voice| {
        FAULTS.contains(&voice.of.as_str())
            && !allowed.contains(&voice.of.as_str())
            && !is_slowness(&voice.words)
            && !provoked.iter().any(|words| voice.words.contains(words))
    };
    voices.iter().find(is_wrong).map(|voice| format!("it names `{}` for it: {}", voice.of, voice.words))
}

/// Whether it speaks of the machine, which many lives share.
fn is_slowness(words: &str) -> bool {
    ["has not answered within", "has not taken the registry", "took longer than", "no answer within"]
        .iter()
        .any(|slow| words.contains(slow))
}
