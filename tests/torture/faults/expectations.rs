//! The faults that a program must report for a failed call, and those that it must not report.
//!
//! A report has to contain the system's text of the error. strace writes the same text, so the test can match the
//! report with the call.

use std::collections::BTreeSet;
use std::process::ExitStatus;

use super::diagnostics::{Diagnostic, Sources, names_with};
use super::process::{Process, exit_problem};
use super::results::Outcome;
use super::strace::{Attached, error_text, failed_calls};

/// The program under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Agent,
    Daemon,
}

/// The injected fault.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) call: &'a str,
    pub(super) only_own: bool,
    pub(super) lasting: bool,
    /// The trace of the call.
    pub(super) lines: Vec<String>,
}

impl Fault<'_> {
    /// A scenario without a fault.
    pub(super) const NONE: Self = Self { call: "", only_own: false, lasting: false, lines: Vec::new() };
}

/// A set of errors.
enum Errors {
    AllBut(&'static [&'static str]),
    Only(&'static [&'static str]),
}

/// A required report.
struct Required {
    calls: &'static [&'static str],
    /// Texts that the line of the trace must contain, such as a path.
    line_has: &'static [&'static str],
    errors: Errors,
    /// Only for lasting faults, because a retry hides a single one.
    lasting: bool,
    /// The report has one of these names, or contains one of these texts.
    reported_as: &'static [&'static str],
}

const fn required(
    calls: &'static [&'static str],
    line_has: &'static [&'static str],
    reported_as: &'static [&'static str],
) -> Required {
    Required { calls, line_has, errors: Errors::AllBut(&["EINTR"]), lasting: false, reported_as }
}

/// Errors of the listener. Any other error concerns one connection.
const NOT_ACCEPTING: Errors = Errors::Only(&["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "ENETUNREACH"]);

/// Errors that make a heartbeat fail. After `EAGAIN`, the call is repeated.
const NOT_SENT: Errors = Errors::AllBut(&["EAGAIN", "EINTR"]);

const AGENT: &[Required] = &[
    required(&["openat", "renameat"], &["\".tested.ron.tmp\"", "/state>"], &["status_file", "status file"]),
    required(&["write", "fsync"], &["/.tested.ron.tmp>"], &["status_file", "status file"]),
    required(&["fsync"], &["/state>"], &["status_file", "status file", "not noted"]),
    required(&["pwrite64", "fsync"], &["/tested.ron.lock>"], &["status_file", "status file", "not noted"]),
    required(&["openat", "read"], &["agent.yaml"], &["configuration", "agent.yaml"]),
    required(&["openat"], &["agent.log\""], &["log file"]),
    required(&["openat"], &["\"/proc/", "O_PATH"], &["resources"]),
    Required { errors: NOT_ACCEPTING, ..required(&["accept4"], &[], &["http"]) },
    Required { errors: NOT_SENT, lasting: true, ..required(&["connect", "sendto", "recvfrom"], &[], &["heartbeat"]) },
];

const DAEMON: &[Required] = &[
    required(&["openat", "renameat"], &["\".registry.ron.tmp\"", "/state>"], &["registry"]),
    required(&["write", "fsync"], &["/.registry.ron.tmp>"], &["registry"]),
    required(&["fsync"], &["/state>"], &["registry", "lock file"]),
    required(&["pwrite64", "fsync"], &["/registry.ron.lock>"], &["registry", "lock file"]),
    required(&["openat", "read"], &["daemon.yaml"], &["configuration", "daemon.yaml"]),
    required(&["openat"], &["daemon.log\""], &["log file"]),
    Required { errors: NOT_ACCEPTING, ..required(&["accept4"], &[], &["http", "socket"]) },
    required(&["vfork", "clone", "clone3"], &["CLONE_VFORK"], &["not started"]),
    required(&["execve"], &[], &["not started"]),
    required(&["open"], &["/logs/agent.log\"", "O_APPEND"], &["not started"]),
    Required { errors: Errors::Only(&["EPERM"]), ..required(&["kill", "pidfd_send_signal"], &[], &["signalled"]) },
    // A status file that cannot be read is no failure of the agent, but the daemon must report it.
    Required {
        errors: Errors::AllBut(&["EINTR", "ENOENT"]),
        lasting: true,
        ..required(&["open", "openat", "read"], &["/agents/a/state/a.ron"], &["cannot read it"])
    },
];

/// Calls and errors that are reported with another text than the system's.
const OTHER_TEXTS: &[(&str, &str, &str)] = &[
    ("flock(", "= -1 EAGAIN", "another"),
    ("connect(", "= -1 ECONNREFUSED", "connection refused by"),
    ("bind(", "= -1 EACCES", "permission denied for port"),
    ("bind(", "= -1 EADDRINUSE", "is in use on"),
    ("bind(", "= -1 EADDRNOTAVAIL", "no interface of this host has the address"),
    ("listen(", "= -1 EADDRINUSE", "is in use on"),
    // The program exists, so the error is about its interpreter.
    ("execve(", "= -1 ENOENT", "the interpreter of"),
    // The library that samples the process does not return the error.
    ("O_PATH", "= -1 ", "cannot be read under /proc"),
    // libc returns this error for every failure to start a thread.
    ("CLONE_THREAD", "= -1 ", "Resource temporarily unavailable"),
];

/// The texts with which a program may report the failed call in a line of the trace.
fn accepted_texts(line: &str) -> impl Iterator<Item = &str> {
    let is_of = |(call, errno, _): &&(&str, &str, &str)| line.contains(call) && line.contains(errno);
    let others = OTHER_TEXTS.iter().filter(is_of).map(|(.., text)| *text);
    error_text(line).into_iter().flat_map(move |text| std::iter::once(text).chain(others.clone()))
}

/// Evaluates the reports of a scenario whose steps all passed.
pub(super) fn evaluate(
    program: Program,
    fault: &Fault<'_>,
    diagnostics: &[Diagnostic],
    expected_faults: &[String],
) -> Outcome {
    let Fault { call, only_own, lasting, lines } = fault;
    let problem = missing_report(program, lines, *lasting, diagnostics)
        .or_else(|| is_report_missing(fault, diagnostics).then(|| "its log does not report lost lines".to_owned()))
        .or_else(|| wrong_report(program, (call, *only_own), diagnostics, expected_faults));
    if let Some(problem) = problem {
        return Outcome::Failed(problem);
    }
    let texts: BTreeSet<&str> = failed_calls(lines).into_iter().flat_map(|line| accepted_texts(line)).collect();
    let names: BTreeSet<String> = texts.iter().flat_map(|text| names_with(diagnostics, text)).collect();
    if names.is_empty() { Outcome::NoEffect } else { Outcome::Reported(names) }
}

/// Evaluates an exit during the start: it must be clean, with the error in the output.
pub(super) fn evaluate_exit(status: ExitStatus, fault: &Fault<'_>, output: &str) -> Outcome {
    let failed = failed_calls(&fault.lines);
    let is_reported = |line: &&String| accepted_texts(line).any(|text| output.contains(text));
    match exit_problem(status, output) {
        Some(problem) => Outcome::Failed(format!("at the start, {problem}")),
        None if !failed.is_empty() && !failed.iter().any(is_reported) => {
            Outcome::Failed(format!("at the start, it exited with another error than the injected one: {output}"))
        }
        None => Outcome::FailedToStart,
    }
}

/// Waits during a lasting fault until all required reports are there. Returns the diagnostics from the API, which may
/// end with the fault.
pub(super) fn wait_for_report(
    program: Program,
    attached: &Attached,
    sources: &Sources,
    process: &mut Process,
) -> Vec<Diagnostic> {
    let mut live: Vec<Diagnostic> = Vec::new();
    process.wait_until(|| {
        let lines = attached.trace_so_far();
        let is_complete = |found: &[Diagnostic]| missing_report(program, &lines, true, found).is_none();
        let is_reported = |found: &[Diagnostic]| {
            let mut texts = failed_calls(&lines).into_iter().flat_map(|line| accepted_texts(line));
            texts.any(|text| !names_with(found, text).is_empty())
        };
        let recorded = sources.recorded();
        // The API is queried only if needed, because the fault may prevent an answer.
        if is_reported(&recorded) && is_complete(&recorded) {
            return true;
        }
        for diagnostic in sources.live() {
            if !live.contains(&diagnostic) {
                live.push(diagnostic);
            }
        }
        is_complete(&[recorded, live.clone()].concat())
    });
    live
}

/// A failed call in a trace that has no required report.
fn missing_report(program: Program, lines: &[String], lasting: bool, diagnostics: &[Diagnostic]) -> Option<String> {
    let all = match program {
        Program::Agent => AGENT,
        Program::Daemon => DAEMON,
    };
    for line in lines {
        let Some(text) = error_text(line) else { continue };
        for required in all.iter().filter(|required| (lasting || !required.lasting) && required.applies_to(line)) {
            let is_named = |found: &&Diagnostic| {
                required.reported_as.iter().any(|name| found.name == *name || found.text.contains(name))
            };
            let named: Vec<Diagnostic> = diagnostics.iter().filter(is_named).cloned().collect();
            // A write that takes too long is reported as slow, and its error only later.
            let is_slow = named.iter().any(|found| is_slowness(&found.text));
            if !is_slow && accepted_texts(line).all(|text| names_with(&named, text).is_empty()) {
                return Some(format!("`{text}` of {line} is not reported as {}", required.reported_as.join(" or ")));
            }
        }
    }
    None
}

impl Required {
    fn applies_to(&self, line: &str) -> bool {
        let is_call = |call: &&str| line.split_once('(').is_some_and(|(head, _)| head.ends_with(&format!(" {call}")));
        let is_error = |errno: &&str| line.contains(&format!("= -1 {errno} ("));
        let is_right = match self.errors {
            Errors::AllBut(others) => !others.iter().any(is_error),
            Errors::Only(these) => these.iter().any(is_error),
        };
        is_right && self.calls.iter().any(is_call) && self.line_has.iter().all(|part| line.contains(part))
    }
}

/// Whether the log does not yet report a lost line: a write failed, and a later one succeeded or will succeed.
pub(super) fn is_report_missing(fault: &Fault<'_>, diagnostics: &[Diagnostic]) -> bool {
    // The output of an agent is no log of the daemon.
    let is_log = |line: &String| line.contains(".log>") && !line.contains("/logs/agent.log>");
    let to_log = |line: &String| line.contains(" write(") && is_log(line);
    let is_lost = |line: &String| to_log(line) && error_text(line).is_some() && !line.contains("= -1 EINTR");
    let last = fault.lines.iter().rposition(|line| to_log(line) && error_text(line).is_none());
    let end = if fault.lasting { fault.lines.len() } else { last.unwrap_or(0) };
    let is_reported = |found: &Diagnostic| found.text.contains("log lines were lost");
    fault.lines.get(..end).unwrap_or_default().iter().any(is_lost) && !diagnostics.iter().any(is_reported)
}

/// The faults that may be reported if only this call fails. `None`: any.
fn allowed_faults(program: Program, call: &str, only_own: bool) -> Option<&'static [&'static str]> {
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

/// A reported fault that the failed call does not explain, and the peers do not cause.
fn wrong_report(
    program: Program,
    (call, only_own): (&str, bool),
    diagnostics: &[Diagnostic],
    expected_faults: &[String],
) -> Option<String> {
    const FAULTS: &[&str] = &["heartbeat", "http", "resources", "socket", "status_file", "registry"];
    let allowed = allowed_faults(program, call, only_own)?;
    let is_wrong = |found: &&Diagnostic| {
        FAULTS.contains(&found.name.as_str())
            && !allowed.contains(&found.name.as_str())
            && !is_slowness(&found.text)
            && !expected_faults.iter().any(|text| found.text.contains(text))
    };
    diagnostics
        .iter()
        .find(is_wrong)
        .map(|found| format!("it reports the wrong fault `{}`: {}", found.name, found.text))
}

/// Whether a report is about a timeout. Many scenarios share the machine, so these are allowed.
fn is_slowness(text: &str) -> bool {
    ["has not answered within", "has not taken the registry", "took longer than", "no answer within"]
        .iter()
        .any(|slow| text.contains(slow))
}
