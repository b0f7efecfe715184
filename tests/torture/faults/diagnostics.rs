//! Problems that a program reports: in its log, its output, its status file and its API.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ops_runtime::observe::read_status;
use serde_json::Value;

use super::process::ask;

/// One reported problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnostic {
    /// The name of the fault, or else where the report was: `log`, `stderr`, `history`, `health`, `verdict`.
    pub(super) name: String,
    pub(super) text: String,
}

impl Diagnostic {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    /// The cause of a transition, which contains the name of a fault.
    fn of_transition(cause: &str) -> Self {
        let name = cause.strip_prefix("fault ").and_then(|rest| rest.split_once(':'));
        Self::new(name.map_or("history", |(name, _)| name), cause)
    }
}

/// The places in which a program reports problems.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) log: PathBuf,
    /// Standard output and standard error.
    pub(super) output: PathBuf,
    /// An agent's status file. Transitions up to this sequence are ignored.
    pub(super) file: Option<(PathBuf, u64)>,
    pub(super) port: u16,
}

impl Sources {
    /// The problems in log, output and status file.
    pub(super) fn recorded(&self) -> Vec<Diagnostic> {
        let mut found = in_log(&text(&self.log));
        found.extend(text(&self.output).lines().map(|line| Diagnostic::new("stderr", line)));
        if let Some((path, since)) = &self.file
            && let Ok(file) = read_status(path)
        {
            found.extend(file.faults.iter().map(|fault| Diagnostic::new(fault.name.as_str(), &fault.detail)));
            let transitions = file.history.iter().filter(|transition| transition.sequence > *since);
            found.extend(transitions.map(|transition| Diagnostic::of_transition(&transition.cause)));
        }
        found
    }

    /// The problems that the API reports now.
    pub(super) fn live(&self) -> Vec<Diagnostic> {
        let mut found = in_health(self.port);
        found.extend(in_verdicts(self.port));
        found
    }

    /// Clears the log and ignores earlier transitions, so that only new problems are found.
    pub(super) fn reset(&mut self) {
        let _ = fs::write(&self.log, "");
        if let Some((path, since)) = &mut self.file {
            *since = read_status(path).map_or(0, |file| file.sequence);
        }
    }
}

/// The text of a file, empty if it cannot be read.
pub(super) fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Warnings, errors and transitions in a log. Transitions have any level.
fn in_log(text: &str) -> Vec<Diagnostic> {
    let diagnostic = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        if let Some(cause) = entry["cause"].as_str().filter(|_| entry["to"].is_string()) {
            return Some(Diagnostic::of_transition(cause));
        }
        matches!(entry["level"].as_str(), Some("warn" | "error"))
            .then(|| Diagnostic::new(entry["fault"].as_str().unwrap_or("log"), line))
    };
    text.lines().filter_map(diagnostic).collect()
}

/// The faults in `GET /health`. Those of an agent have names, those of a daemon are texts.
fn in_health(port: u16) -> Vec<Diagnostic> {
    let Some(health) = json(port, "/health") else { return Vec::new() };
    let faults = health["faults"].as_array().cloned().unwrap_or_default();
    let diagnostic = |fault: &Value| match fault.as_str() {
        Some(text) => Diagnostic::new("health", text),
        None => {
            Diagnostic::new(fault["name"].as_str().unwrap_or("health"), fault["detail"].as_str().unwrap_or_default())
        }
    };
    faults.iter().map(diagnostic).collect()
}

/// The checks of a daemon whose verdict is `unknown` or `bad`.
fn in_verdicts(port: u16) -> Vec<Diagnostic> {
    let agents = json(port, "/agents").unwrap_or_default();
    let agents = agents.as_array().or_else(|| agents["agents"].as_array()).cloned().unwrap_or_default();
    let signals = agents.iter().flat_map(|agent| agent["signals"].as_array().cloned().unwrap_or_default());
    let diagnostic = |signal: Value| {
        let detail = signal["detail"].as_str()?;
        matches!(signal["verdict"].as_str(), Some("unknown" | "bad")).then(|| Diagnostic::new("verdict", detail))
    };
    signals.filter_map(diagnostic).collect()
}

fn json(port: u16, path: &str) -> Option<Value> {
    serde_json::from_str(&ask(port, "GET", path, "*/*")?.1).ok()
}

/// The names of all diagnostics that contain `text`.
pub(super) fn names_with(diagnostics: &[Diagnostic], text: &str) -> BTreeSet<String> {
    diagnostics.iter().filter(|found| found.text.contains(text)).map(|found| found.name.clone()).collect()
}
