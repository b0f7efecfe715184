//! What a program says is wrong with it, whichever of its voices says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ops_runtime::observe::read_status;
use serde_json::Value;

use super::process::ask;

/// A thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voice {
    /// The fault that is spoken of, if it has a name; otherwise whoever speaks.
    pub(super) of: String,
    pub(super) words: String,
}

impl Voice {
    fn new(of: &str, words: &str) -> Self {
        Self { of: of.to_owned(), words: words.to_owned() }
    }

    /// Of a move: its cause names the fault, if it is one.
    fn of_move(cause: &str) -> Self {
        let name = cause.strip_prefix("fault ").and_then(|rest| rest.split_once(':'));
        Self::new(name.map_or("history", |(name, _)| name), cause)
    }
}

/// Where one listens.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) log: PathBuf,
    /// What it says outside of its log.
    pub(super) said: PathBuf,
    /// An agent's status file, from this sequence on.
    pub(super) file: Option<(PathBuf, u64)>,
    pub(super) port: u16,
}

impl Ears {
    /// All that is on record.
    pub(super) fn recorded(&self) -> Vec<Voice> {
        let mut voices = in_log(&text(&self.log));
        voices.extend(text(&self.said).lines().map(|line| Voice::new("stderr", line)));
        if let Some((path, since)) = &self.file
            && let Ok(file) = read_status(path)
        {
            voices.extend(file.faults.iter().map(|fault| Voice::new(fault.name.as_str(), &fault.detail)));
            let moves = file.history.iter().filter(|moved| moved.sequence > *since);
            voices.extend(moves.map(|moved| Voice::of_move(&moved.cause)));
        }
        voices
    }

    /// What is said at this moment by whoever is asked.
    pub(super) fn at_once(&self) -> Vec<Voice> {
        let mut voices = in_health(self.port);
        voices.extend(in_verdicts(self.port));
        voices
    }

    /// Notes where the record ends, so that only what comes from here on is heard.
    pub(super) fn begin_anew(&mut self) {
        let _ = fs::write(&self.log, "");
        if let Some((path, since)) = &mut self.file {
            *since = read_status(path).map_or(0, |file| file.sequence);
        }
    }
}

/// A file's text, as far as it is one.
pub(super) fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// What a log complains of: its warnings, its errors, and its moves, which are told of at any level.
fn in_log(text: &str) -> Vec<Voice> {
    let told = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        if let Some(cause) = entry["cause"].as_str().filter(|_| entry["to"].is_string()) {
            return Some(Voice::of_move(cause));
        }
        matches!(entry["level"].as_str(), Some("warn" | "error"))
            .then(|| Voice::new(entry["fault"].as_str().unwrap_or("log"), line))
    };
    text.lines().filter_map(told).collect()
}

/// What `GET /health` complains of, at once: an agent's faults have names, a daemon's are sentences.
fn in_health(port: u16) -> Vec<Voice> {
    let Some(health) = json(port, "/health") else { return Vec::new() };
    let faults = health["faults"].as_array().cloned().unwrap_or_default();
    let voice = |fault: &Value| match fault.as_str() {
        Some(sentence) => Voice::new("health", sentence),
        None => Voice::new(fault["name"].as_str().unwrap_or("health"), fault["detail"].as_str().unwrap_or_default()),
    };
    faults.iter().map(voice).collect()
}

/// What a daemon cannot tell of its agents, or takes for bad.
fn in_verdicts(port: u16) -> Vec<Voice> {
    let agents = json(port, "/agents").unwrap_or_default();
    let agents = agents.as_array().or_else(|| agents["agents"].as_array()).cloned().unwrap_or_default();
    let signals = agents.iter().flat_map(|agent| agent["signals"].as_array().cloned().unwrap_or_default());
    let voice = |signal: Value| {
        let detail = signal["detail"].as_str()?;
        matches!(signal["verdict"].as_str(), Some("unknown" | "bad")).then(|| Voice::new("verdict", detail))
    };
    signals.filter_map(voice).collect()
}

fn json(port: u16, path: &str) -> Option<Value> {
    serde_json::from_str(&ask(port, "GET", path, "*/*")?.1).ok()
}

/// Who has said these words, each once.
pub(super) fn who_said(voices: &[Voice], words: &str) -> BTreeSet<String> {
    voices.iter().filter(|voice| voice.words.contains(words)).map(|voice| voice.of.clone()).collect()
}
