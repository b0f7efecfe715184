//! The log lines of both sides about each heartbeat, by heartbeat.

use std::collections::HashMap;
use std::fs;
use std::time::SystemTime;

use ops_protocol::Timestamp;
use serde_json::Value;

use super::daemon::log;
use super::fleet::{AGENTS, Fleet};

/// Identifies a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HeartbeatKey {
    pub(super) index: usize,
    pub(super) incarnation: u64,
    sequence: u64,
    made_at: String,
}

/// How often each event was logged for a heartbeat. An agent may send two with the same key in one millisecond.
#[derive(Debug, Clone, Default)]
pub(super) struct HeartbeatRecord {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    /// The part of `failed` that is due to a timeout.
    pub(super) timed_out: u64,
    pub(super) abandoned: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) started: Option<SystemTime>,
    pub(super) ended: Option<SystemTime>,
}

impl HeartbeatRecord {
    /// Sent without a logged result, because the process was killed.
    pub(super) const fn unfinished(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.failed + self.abandoned)
    }

    /// Accepted by the daemon, but not known to the agent as delivered.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.accepted.saturating_sub(self.delivered).min(self.sent.saturating_sub(self.delivered))
    }
}

/// One log line about a heartbeat.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogEntry {
    pub(super) index: usize,
    pub(super) incarnation: u64,
    pub(super) event: HeartbeatEvent,
    /// The offset of the end of the line in its log.
    pub(super) end: u64,
}

/// What a log line reports about a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeartbeatEvent {
    Sent,
    Delivered,
    Failed,
    Abandoned,
    Accepted,
    Refused,
}

impl HeartbeatEvent {
    fn of(message: &str) -> Option<Self> {
        Some(match message {
            "heartbeat sent" => Self::Sent,
            "heartbeat delivered" => Self::Delivered,
            "heartbeat not delivered" => Self::Failed,
            "heartbeat abandoned" => Self::Abandoned,
            "heartbeat accepted" => Self::Accepted,
            "heartbeat refused" => Self::Refused,
            _ => return None,
        })
    }
}

/// All heartbeats of a soak run, as the logs report them.
#[derive(Default)]
pub(super) struct HeartbeatLog {
    pub(super) records: HashMap<HeartbeatKey, HeartbeatRecord>,
    /// Log lines by agent.
    pub(super) agents: Vec<Vec<LogEntry>>,
    /// Log lines by run of the daemon.
    pub(super) daemons: Vec<Vec<LogEntry>>,
    /// Agents and incarnations that exited without SIGKILL.
    pub(super) clean_exits: Vec<(usize, u64)>,
    /// Log lines that must not occur.
    pub(super) unexpected: Vec<String>,
    pub(super) adopted: usize,
}

impl HeartbeatLog {
    /// Reads the logs of all agents, and of the daemon's runs up to `last_run`.
    pub(super) fn read(fleet: &Fleet<'_>, last_run: usize) -> Self {
        let mut heartbeats = Self::default();
        for index in 0..AGENTS.len() {
            let text = fs::read(fleet.log(index)).unwrap_or_default();
            let entries = heartbeats.read_agent(index, &text);
            heartbeats.agents.push(entries);
        }
        for number in 0..=last_run {
            let text = fs::read(log(fleet, number)).unwrap_or_default();
            let entries = heartbeats.read_daemon(&text);
            heartbeats.daemons.push(entries);
        }
        heartbeats
    }

    fn read_agent(&mut self, index: usize, text: &[u8]) -> Vec<LogEntry> {
        let (mut entries, mut incarnation) = (Vec::new(), 0);
        for (line, end) in self.lines(text) {
            match line["message"].as_str().unwrap_or_default() {
                "starting" => incarnation = line["incarnation"].as_u64().unwrap_or_default(),
                "ended" => self.clean_exits.push((index, incarnation)),
                message => entries.extend(HeartbeatEvent::of(message).map(|event| self.add(index, event, &line, end))),
            }
        }
        entries
    }

    fn read_daemon(&mut self, text: &[u8]) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        for (line, end) in self.lines(text) {
            let message = line["message"].as_str().unwrap_or_default();
            self.adopted += usize::from(message == "process adopted");
            let Some(event) = HeartbeatEvent::of(message) else { continue };
            match AGENTS.iter().position(|agent| line["agent_id"] == agent.id) {
                Some(index) => entries.push(self.add(index, event, &line, end)),
                None => self.unexpected.push(line.to_string()),
            }
        }
        entries
    }

    /// Every line, with the offset of its end.
    fn lines(&mut self, text: &[u8]) -> Vec<(Value, u64)> {
        let (mut lines, mut end) = (Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            end += line.len() as u64;
            match serde_json::from_slice::<Value>(line) {
                Ok(value) if value["lines_lost"].is_null() && value["message"] != "event refused" => {
                    lines.push((value, end))
                }
                _ => self.unexpected.push(String::from_utf8_lossy(line).trim_end().to_owned()),
            }
        }
        lines
    }

    fn add(&mut self, index: usize, event: HeartbeatEvent, line: &Value, end: u64) -> LogEntry {
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        let (incarnation, sequence) = (number("incarnation"), number("sequence"));
        let made_at = line["made_at"].as_str().unwrap_or_default().to_owned();
        let record = self.records.entry(HeartbeatKey { index, incarnation, sequence, made_at }).or_default();
        let time = line["timestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok()).map(|time| time.0);
        match event {
            HeartbeatEvent::Sent => {
                record.sent += 1;
                record.started = record.started.or(time);
            }
            HeartbeatEvent::Delivered => record.delivered += 1,
            HeartbeatEvent::Failed => {
                record.failed += 1;
                let is_timeout = |error: &str| error.contains("no answer within") || error.contains("took longer than");
                record.timed_out += u64::from(line["error"].as_str().is_some_and(is_timeout));
            }
            HeartbeatEvent::Abandoned => record.abandoned += 1,
            HeartbeatEvent::Accepted => record.accepted += 1,
            HeartbeatEvent::Refused => record.refused += 1,
        }
        if matches!(event, HeartbeatEvent::Delivered | HeartbeatEvent::Failed | HeartbeatEvent::Abandoned) {
            record.ended = time;
        }
        LogEntry { index, incarnation, event, end }
    }
}
