//! When two states are equal: a fingerprint of everything that decides the future, and of nothing else.
//!
//! The fingerprint is made from a state's `Debug` form, so a new field of the product counts at once. `DROPPED` names the
//! fields that do not count. Values that grow without bound become relative: times to now, process start times to the
//! order in which they occur, incarnations and sequences to the newest. So runs of any length come back to known states,
//! and the search ends. A test checks the reverse: states with the same fingerprint have the same futures.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

/// Fields that decide nothing: texts and wall clock times for the log, counters, values that are the same in every state,
/// and what matters only with many agents.
const DROPPED: [&str; 23] = [
    "boot",
    "cause",
    "detail",
    "ahead",
    "failed_at",
    "fingerprint",
    "heartbeats",
    "history",
    "last_exit",
    "last_output",
    "limits",
    "now",
    "policy",
    "reason",
    "refused",
    "rejected",
    "released",
    "restarts",
    "restarts_by_reason",
    "started_at",
    "strays",
    "wall",
    "why",
];

/// Times of which only the presence counts. `began` matters only to the age of a status file.
const PRESENCE_ONLY: [&str; 2] = ["began", "degraded_since"];

/// The largest distance from the newest number that counts. Beyond it, only the sign counts.
const MAX_DISTANCE: i64 = 3;

/// What times and numbers are relative to.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The present time.
    pub now: Duration,
    /// Times further back than this are equal. It has to be longer than any time that the product compares with.
    pub horizon: Duration,
    /// The newest incarnation.
    pub incarnation: u64,
    /// The newest sequence.
    pub sequence: u64,
}

/// The fingerprint of a state.
pub fn fingerprint(state: &impl fmt::Debug, scale: Scale) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(canonical(state, scale).as_bytes());
    hasher.finish()
}

/// The text behind the fingerprint.
pub fn canonical(state: &impl fmt::Debug, scale: Scale) -> String {
    let mut text = String::with_capacity(4096);
    // Writing to a string cannot fail.
    let _ = write!(text, "{state:?}");
    Scan { rest: &text, scale, field: "", starts: HashMap::new(), out: String::with_capacity(1024) }.run()
}

struct Scan<'a> {
    rest: &'a str,
    scale: Scale,
    /// The name of the last field, which says what a number means.
    field: &'a str,
    /// Process start times, in the order in which they occur.
    starts: HashMap<&'a str, usize>,
    out: String,
}

impl<'a> Scan<'a> {
    fn run(mut self) -> String {
        while let Some(first) = self.rest.bytes().next() {
            match first {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
                b'0'..=b'9' => self.number(),
                b'"' => {
                    let end = string_end(self.rest);
                    let text = self.take(end);
                    self.out.push_str(text);
                }
                b' ' => drop(self.take(1)),
                _ => {
                    let end = self.rest.chars().next().map_or(1, char::len_utf8);
                    let sign = self.take(end);
                    self.out.push_str(sign);
                }
            }
        }
        self.out
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn word(&mut self) {
        let end = self.rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(self.rest.len());
        let word = self.take(end);
        if !self.rest.starts_with(": ") {
            self.out.push_str(word);
        } else if DROPPED.contains(&word) || (word != "started" && is_wall_time(self.rest)) {
            let end = value_end(self.rest);
            self.take(end);
        } else {
            self.field = word;
            self.out.push_str(word);
        }
    }

    fn number(&mut self) {
        let end = self.rest.bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(self.rest.len());
        let number = self.take(end);
        let unit = self.rest.bytes().position(|b| !(b.is_ascii_alphabetic() || b >= 0x80)).unwrap_or(self.rest.len());
        let unit = self.take(unit);
        let _ = match (unit, self.field) {
            ("s" | "ms" | "µs" | "ns", field) if PRESENCE_ONLY.contains(&field) => write!(self.out, "*"),
            ("s" | "ms" | "µs" | "ns", _) => write!(self.out, "{}", self.relative(number, unit)),
            (_, "start_ticks") => {
                let next = self.starts.len();
                let index = *self.starts.entry(number).or_insert(next);
                write!(self.out, "#{index}")
            }
            (_, "incarnation" | "newest_incarnation" | "lock_incarnation") => {
                self.distance(number, self.scale.incarnation)
            }
            (_, "sequence") => self.distance(number, self.scale.sequence),
            _ => write!(self.out, "{number}{unit}"),
        };
    }

    /// A time as milliseconds from now, at most `horizon` back.
    fn relative(&self, number: &str, unit: &str) -> i64 {
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let whole: i64 = whole.parse().unwrap_or(0);
        let millis = match unit {
            "s" => whole * 1000 + format!("{part:0<3.3}").parse::<i64>().unwrap_or(0),
            "ms" => whole,
            _ => 0,
        };
        let millis_of = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        (millis - millis_of(self.scale.now)).max(-millis_of(self.scale.horizon))
    }

    /// A number as its distance from the newest.
    fn distance(&mut self, number: &str, newest: u64) -> fmt::Result {
        let number: i64 = number.parse().unwrap_or(0);
        let distance = number.saturating_sub(i64::try_from(newest).unwrap_or(i64::MAX));
        write!(self.out, "{}", distance.clamp(-MAX_DISTANCE, MAX_DISTANCE))
    }
}

/// Whether a value contains wall clock time. Decisions use the monotonic clock; the start of an agent is the exception.
fn is_wall_time(value: &str) -> bool {
    value.starts_with(": Now {") || value.starts_with(": SystemTime {")
}

/// The end of the string that begins here.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The end of the field's value that begins here: its comma, or the end of the struct around it.
fn value_end(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_end(&text[at..]) - 1,
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' if depth == 0 => return at,
            b'}' | b')' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}
