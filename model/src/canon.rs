//! When two states are the same: a fingerprint of all that decides the future, and of nothing else.
//!
//! A state is taken as its `Debug` form, so a field that somebody adds to the product counts at once and cannot be
//! forgotten here. What is left out is named in `DROPPED`. What grows without bound is made relative: moments to now,
//! process start times to the order in which they are named, incarnations and sequences to the newest. So runs of any length come back
//! to states that were seen before, and the search comes to an end. A test holds the other side: states of one
//! fingerprint have the same futures.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

/// Fields that decide nothing: words and wall clock times for people, counters that are only shown, what is the same in
/// every state, and what only a mass of agents makes use of.
const DROPPED: [&str; 19] = [
    "boot",
    "cause",
    "detail",
    "doubt",
    "ahead",
    "fingerprint",
    "heartbeats",
    "history",
    "limits",
    "now",
    "policy",
    "refused",
    "rejected",
    "restarts",
    "started_at",
    "strays",
    "turned_bad",
    "wall",
    "why",
];

/// Moments of which it counts only that there is one. The beginning matters to a status file's age only.
const SHOWN: [&str; 2] = ["began", "degraded_since"];

/// Numbers further apart than this from the newest are equally far: it counts which is the greater.
const APART: i64 = 3;

/// What everything is relative to.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The present moment.
    pub now: Duration,
    /// How far back a moment is told from an earlier one. Longer than anything is compared with.
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
    /// The last field that was named: what a number is one of.
    field: &'a str,
    /// Process start times, in the order in which they are named.
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
        } else if DROPPED.contains(&word) || (word != "started" && is_for_people(self.rest)) {
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
            ("s" | "ms" | "µs" | "ns", field) if SHOWN.contains(&field) => write!(self.out, "*"),
            ("s" | "ms" | "µs" | "ns", _) => write!(self.out, "{}", self.relative(number, unit)),
            (_, "start_ticks") => {
                let next = self.starts.len();
                let place = *self.starts.entry(number).or_insert(next);
                write!(self.out, "#{place}")
            }
            (_, "incarnation" | "newest_incarnation" | "noted") => self.apart(number, self.scale.incarnation),
            (_, "sequence") => self.apart(number, self.scale.sequence),
            _ => write!(self.out, "{number}{unit}"),
        };
    }

    /// A moment as milliseconds from now; whatever is long over is equally long over.
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
    fn apart(&mut self, number: &str, newest: u64) -> fmt::Result {
        let number: i64 = number.parse().unwrap_or(0);
        let apart = number.saturating_sub(i64::try_from(newest).unwrap_or(i64::MAX));
        write!(self.out, "{}", apart.clamp(-APART, APART))
    }
}

/// Moments on both clocks, and on the wall, are: what is decided by is on one. The start of an agent is the exception.
fn is_for_people(value: &str) -> bool {
    value.starts_with(": Now {") || value.starts_with(": SystemTime {")
}

/// Where the string that begins here ends.
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

/// Where the value of the field that begins here ends: at its comma, or where the struct around it does.
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
