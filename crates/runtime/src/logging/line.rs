//! Formats a log line.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::settings::LogFormat;
use ops_protocol::Timestamp;
use ops_protocol::printable::{is_deceptive, on_one_line};

/// The line for an event, with a line feed at the end.
pub(super) fn of(format: LogFormat, now: SystemTime, origin: (&str, &str), event: &Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    render(format, now, *event.metadata().level(), origin, fields)
}

/// The line that reports lost lines.
pub(super) fn lost(format: LogFormat, now: SystemTime, origin: (&str, &str), count: u64) -> String {
    let fields = Fields {
        message: "log lines were lost here because they could not be written".to_owned(),
        rest: vec![("lines_lost", Value::from(count))],
    };
    render(format, now, Level::WARN, origin, fields)
}

fn render(format: LogFormat, now: SystemTime, level: Level, origin: (&str, &str), fields: Fields) -> String {
    let timestamp = Timestamp(now);
    let mut out = String::with_capacity(256);
    // Writing to a string cannot fail.
    let _ = match format {
        LogFormat::Json => json(&mut out, timestamp, level, origin, &fields),
        LogFormat::Text => text(&mut out, timestamp, level, origin, &fields),
    };
    out.push('\n');
    out
}

fn json(out: &mut String, at: Timestamp, level: Level, origin: (&str, &str), fields: &Fields) -> fmt::Result {
    let quoted = |text: &str| Value::from(text).to_string();
    let level = level.as_str().to_ascii_lowercase();
    write!(out, r#"{{"timestamp":"{at}","level":"{level}","message":{}"#, quoted(&fields.message))?;
    write!(out, ",{}:{}", quoted(origin.0), quoted(origin.1))?;
    for (name, value) in &fields.rest {
        write!(out, ",{}:{value}", quoted(name))?;
    }
    out.write_char('}')
}

fn text(out: &mut String, at: Timestamp, level: Level, origin: (&str, &str), fields: &Fields) -> fmt::Result {
    write!(out, "{at} {level:5} {}: {}", origin.1, on_one_line(&fields.message))?;
    for (name, value) in &fields.rest {
        match value {
            Value::String(text) if text.chars().any(|c| c.is_whitespace() || is_deceptive(c)) => {
                write!(out, " {name}={text:?}")?;
            }
            Value::String(text) => write!(out, " {name}={text}")?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                write!(out, " {name}={value}")?;
            }
        }
    }
    Ok(())
}

/// The fields of an event. The message is separate.
#[derive(Default)]
struct Fields {
    message: String,
    /// In the order of the event.
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        // A line has one level and one time, so a library's field with that name is renamed.
        let name = match field.name() {
            "timestamp" => "field_timestamp",
            "level" => "field_level",
            name => name,
        };
        self.rest.push((name, value));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, Value::from(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
