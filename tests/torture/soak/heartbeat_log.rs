//! What both sides wrote down of each heartbeat, put side by side.

use std::collections::HashMap;
use std::fs;
use std::time::SystemTime;

use ops_protocol::Timestamp;
use serde_json::Value;

use super::daemon::log;
use super::fleet::{Fleet, MEMBERS};

/// Which heartbeat: whose, of which start, of which status, made when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) who: usize,
    pub(super) incarnation: u64,
    sequence: u64,
    made_at: String,
}

/// What became of it. Numbers, since an agent may make two in the same millisecond.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    /// Of those that failed: because no answer came in time.
    pub(super) timed_out: u64,
    pub(super) abandoned: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) begun: Option<SystemTime>,
    pub(super) ended: Option<SystemTime>,
}

impl Story {
    /// Its process was killed before it ended.
    pub(super) const fn cut(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.failed + self.abandoned)
    }

    /// The daemon has it, and its agent does not know that.
    pub(super) fn in_doubt(&self) -> u64 {
        self.accepted.saturating_sub(self.delivered).min(self.sent.saturating_sub(self.delivered))
    }
}

/// One line about a heartbeat, and where in its log it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) who: usize,
    pub(super) incarnation: u64,
    pub(super) what: Told,
    pub(super) at: u64,
}

/// What a log tells of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Sent,
    Delivered,
    Failed,
    Abandoned,
    Accepted,
    Refused,
}

impl Told {
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

/// Everything that was written down.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) stories: HashMap<Name, Story>,
    /// By agent.
    pub(super) agents: Vec<Vec<Entry>>,
    /// By life of the daemon.
    pub(super) daemons: Vec<Vec<Entry>>,
    /// Which starts of an agent ended by themselves, and not by a SIGKILL.
    pub(super) orderly: Vec<(usize, u64)>,
    /// Lines that should not be there.
    pub(super) odd: Vec<String>,
    pub(super) adopted: usize,
}

impl Ledger {
    /// Reads the logs of all agents, and of the daemon's lives up to this one.
    pub(super) fn read(fleet: &Fleet<'_>, lives: usize) -> Self {
        let mut ledger = Self::default();
        for who in 0..MEMBERS.len() {
            let text = fs::read(fleet.log(who)).unwrap_or_default();
            let entries = ledger.agent(who, &text);
            ledger.agents.push(entries);
        }
        for life in 0..=lives {
            let text = fs::read(log(fleet, life)).unwrap_or_default();
            let entries = ledger.daemon(&text);
            ledger.daemons.push(entries);
        }
        ledger
    }

    fn agent(&mut self, who: usize, text: &[u8]) -> Vec<Entry> {
        let (mut entries, mut incarnation) = (Vec::new(), 0);
        for (line, at) in self.lines(text) {
            match line["message"].as_str().unwrap_or_default() {
                "starting" => incarnation = line["incarnation"].as_u64().unwrap_or_default(),
                "ended" => self.orderly.push((who, incarnation)),
                message => entries.extend(Told::of(message).map(|what| self.enter(who, what, &line, at))),
            }
        }
        entries
    }

    fn daemon(&mut self, text: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (line, at) in self.lines(text) {
            let message = line["message"].as_str().unwrap_or_default();
            self.adopted += usize::from(message == "process adopted");
            let Some(what) = Told::of(message) else { continue };
            match MEMBERS.iter().position(|member| line["agent_id"] == member.id) {
                Some(who) => entries.push(self.enter(who, what, &line, at)),
                None => self.odd.push(line.to_string()),
            }
        }
        entries
    }

    /// Every line with the place where it ends.
    fn lines(&mut self, text: &[u8]) -> Vec<(Value, u64)> {
        let (mut lines, mut at) = (Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            at += line.len() as u64;
            match serde_json::from_slice::<Value>(line) {
                Ok(value) if value["lines_lost"].is_null() && value["message"] != "event refused" => {
                    lines.push((value, at))
                }
                _ => self.odd.push(String::from_utf8_lossy(line).trim_end().to_owned()),
            }
        }
        lines
    }

    fn enter(&mut self, who: usize, what: Told, line: &Value, at: u64) -> Entry {
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        let (incarnation, sequence) = (number("incarnation"), number("sequence"));
        let made_at = line["made_at"].as_str().unwrap_or_default().to_owned();
        let story = self.stories.entry(Name { who, incarnation, sequence, made_at }).or_default();
        let time = line["timestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok()).map(|time| time.0);
        match what {
            Told::Sent => {
                story.sent += 1;
                story.begun = story.begun.or(time);
            }
            Told::Delivered => story.delivered += 1,
            Told::Failed => {
                story.failed += 1;
                let late = |error: &str| error.contains("no answer within") || error.contains("took longer than");
                story.timed_out += u64::from(line["error"].as_str().is_some_and(late));
            }
            Told::Abandoned => story.abandoned += 1,
            Told::Accepted => story.accepted += 1,
            Told::Refused => story.refused += 1,
        }
        if matches!(what, Told::Delivered | Told::Failed | Told::Abandoned) {
            story.ended = time;
        }
        Entry { who, incarnation, what, at }
    }
}
