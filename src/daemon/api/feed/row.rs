//! One agent as the streams of changes show it, and what of it has changed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Map, Value};

use super::event;
use ops_protocol::views::AgentView;

/// The time between two events of an agent of which nothing but counts and ages have changed.
const QUIET: Duration = Duration::from_secs(10);

/// Fields that change with each heartbeat or sample. Alone they make an event after [`QUIET`] only.
const COUNTS: [&str; 6] =
    ["heartbeats", "heartbeats_rejected", "rejected_by_reason", "last_rejected", "cpu_percent", "memory_bytes"];

/// Fields that are computed from the present time, so that two looks differ. Each event has them.
const TIMES: [&str; 2] = ["last_heartbeat", "next_start_s"];

/// Fields with texts for people, in which numbers may be ages. A change of a number alone makes an event after [`QUIET`] only.
const TEXTS: [&str; 2] = ["why", "signals"];

/// Members of a check that are ages. The detail of an agent has them anew.
const AGES: [&str; 2] = ["for_s", "looked_s"];

/// One agent, as in `GET /agents/ID`, without what only a detailed view needs: its history and the last output.
#[derive(Debug)]
pub(super) struct Row(Map<String, Value>);

impl Row {
    pub(super) fn of(mut view: AgentView) -> Self {
        view.history.clear();
        view.clear_output();
        match serde_json::to_value(view) {
            Ok(Value::Object(mut fields)) => {
                fields.remove("history");
                Self(fields)
            }
            Ok(_) | Err(_) => Self(Map::new()),
        }
    }

    /// The event with all of it.
    pub(super) fn whole(&self) -> Bytes {
        event("agent", &self.0)
    }
}

/// What the streams know of an agent.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The hash of the names of the fields.
    names: u64,
    fields: Vec<Hashes>,
    /// When the last event was made, on the monotonic clock.
    at: Duration,
}

/// The hashes of a field: of all of it, and of what makes an event at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hashes {
    all: u64,
    urgent: u64,
}

impl Known {
    pub(super) fn of(row: &Row, now: Duration) -> Self {
        let mut names = DefaultHasher::new();
        row.0.keys().for_each(|name| name.hash(&mut names));
        Self { names: names.finish(), fields: row.0.iter().map(|(name, value)| hashes(name, value)).collect(), at: now }
    }

    /// The event of what has changed, if it is time for one.
    pub(super) fn change(&mut self, row: &Row, now: Duration) -> Option<Bytes> {
        let is_first = self.fields.is_empty();
        let next = Self::of(row, now);
        if is_first {
            // Each stream gets the whole agent first.
            *self = next;
            return None;
        }
        if self.names != next.names {
            *self = next;
            return Some(row.whole());
        }
        let changed = |hash: fn(&Hashes) -> u64| {
            self.fields.iter().zip(&next.fields).any(|(before, after)| hash(before) != hash(after))
        };
        let is_due = now.saturating_sub(self.at) >= QUIET && changed(|field| field.all);
        if !is_due && !changed(|field| field.urgent) {
            return None;
        }
        let fields = row.0.iter().zip(self.fields.iter().zip(&next.fields));
        let news = fields.filter(|((name, _), (before, after))| {
            before != after || *name == "agent_id" || TIMES.contains(&name.as_str())
        });
        let news: Map<String, Value> = news.map(|((name, value), _)| (name.clone(), value.clone())).collect();
        *self = next;
        Some(event("change", &news))
    }
}

fn hashes(name: &str, value: &Value) -> Hashes {
    let hash = |digits: bool| {
        let mut hasher = DefaultHasher::new();
        feed(&mut hasher, value, digits);
        hasher.finish()
    };
    if TIMES.contains(&name) {
        let is_null = u64::from(value.is_null());
        return Hashes { all: is_null, urgent: is_null };
    }
    let all = hash(true);
    let urgent = match name {
        _ if COUNTS.contains(&name) => 0,
        _ if TEXTS.contains(&name) => hash(false),
        _ => all,
    };
    Hashes { all, urgent }
}

/// Hashes a value without ages, and with or without the digits in its texts.
fn feed(hasher: &mut DefaultHasher, value: &Value, digits: bool) {
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(flag) => flag.hash(hasher),
        Value::Number(number) => number.hash(hasher),
        Value::String(text) if digits => text.hash(hasher),
        Value::String(text) => {
            text.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| hasher.write_u8(byte));
            hasher.write_u8(0xff);
        }
        Value::Array(items) => {
            hasher.write_usize(items.len());
            items.iter().for_each(|item| feed(hasher, item, digits));
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| !AGES.contains(&name.as_str())) {
                name.hash(hasher);
                feed(hasher, member, digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        Row(value.as_object().expect("an object").clone())
    }

    fn text(event: Option<Bytes>) -> Option<String> {
        event.map(|event| String::from_utf8(event.to_vec()).unwrap())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_event_has_the_changed_fields_only() {
        let state = |state: &str| row(json!({"agent_id": "a", "state": state, "cause": "x", "next_start_s": 1.5}));
        let mut known = Known::of(&state("running"), SECOND);
        assert_eq!(text(known.change(&state("running"), SECOND)), None);
        let change = text(known.change(&state("failed"), SECOND)).unwrap();
        assert_eq!(change, "event: change\ndata: {\"agent_id\":\"a\",\"next_start_s\":1.5,\"state\":\"failed\"}\n\n");
        assert_eq!(text(known.change(&state("failed"), SECOND * 99)), None);
    }

    #[test]
    fn counts_and_ages_wait_and_what_differs_between_two_looks_is_no_change() {
        let row = |count: u32, seconds: u32, verdict: &str| {
            let signals =
                json!([{"check": "http", "verdict": verdict, "for_s": seconds, "looked_s": 1, "detail": null}]);
            row(json!({
                "agent_id": "a", "heartbeats": count, "last_heartbeat": format!("t{seconds}"),
                "signals": signals, "why": format!("silent for {seconds} s"),
            }))
        };
        let mut known = Known::of(&row(1, 5, "ok"), SECOND);
        assert_eq!(text(known.change(&row(2, 6, "ok"), SECOND * 2)), None, "too soon");
        let late = text(known.change(&row(2, 7, "ok"), SECOND * 11)).unwrap();
        assert!(late.contains("\"heartbeats\":2") && late.contains("silent for 7 s"), "{late}");
        assert!(!late.contains("signals"), "the ages of checks are no change: {late}");
        let urgent = text(known.change(&row(2, 8, "bad"), SECOND * 12)).unwrap();
        assert!(urgent.contains("signals") && urgent.contains("last_heartbeat"), "{urgent}");
    }

    #[test]
    fn a_field_that_vanishes_makes_an_event_with_the_whole_agent() {
        let mut known = Known::of(&row(json!({"agent_id": "a", "name": "A"})), SECOND);
        let change = text(known.change(&row(json!({"agent_id": "a", "label": "A"})), SECOND)).unwrap();
        assert_eq!(change, "event: agent\ndata: {\"agent_id\":\"a\",\"label\":\"A\"}\n\n");
    }
}
