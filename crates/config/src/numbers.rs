//! Types of values with a range: counts, shares and times.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::raw::{Raw, ReadResult, invalid, quote};
use super::values::ValueType;

/// A whole number between the two, inclusive.
pub(super) struct Whole<T>(pub(super) T, pub(super) T);

impl<T> ValueType for Whole<T>
where
    T: TryFrom<u64> + PartialOrd + Display + Copy + serde::Serialize,
{
    type Value = T;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<T> {
        let Some((text, number)) = raw.number() else {
            return invalid(
                format!("is {}", raw.describe()),
                format!("write a whole number between {} and {}", self.0, self.1),
            );
        };
        match number.as_u64().and_then(|number| T::try_from(number).ok()) {
            Some(value) if (self.0..=self.1).contains(&value) => Ok(value),
            _ => invalid(format!("is {text}"), format!("set it between {} and {}", self.0, self.1)),
        }
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        format!("{} to {}", self.0, self.1)
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0, "maximum": self.1 })
    }
}

/// A whole number between the two, inclusive, which may be negative.
pub(super) struct Signed(pub(super) i32, pub(super) i32);

impl ValueType for Signed {
    type Value = i32;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<i32> {
        let remedy = format!("write a whole number between {} and {}", self.0, self.1);
        let number = raw.number().and_then(|(_, number)| i32::try_from(number.as_i64()?).ok());
        match number.filter(|number| (self.0..=self.1).contains(number)) {
            Some(number) => Ok(number),
            None => invalid(format!("is {}", raw.describe()), remedy),
        }
    }

    fn show(&self, value: &i32) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        format!("{} to {}", self.0, self.1)
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0, "maximum": self.1 })
    }
}

/// A number between the two, inclusive.
pub(super) struct Decimal(pub(super) f64, pub(super) f64);

impl ValueType for Decimal {
    type Value = f64;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<f64> {
        let remedy = format!("set it between {} and {}", self.0, self.1);
        match raw.number() {
            None => invalid(format!("is {}", raw.describe()), remedy),
            Some((text, number)) => match number.as_f64() {
                value if (self.0..=self.1).contains(&value) => Ok(value),
                _ => invalid(format!("is {text}"), remedy),
            },
        }
    }

    fn show(&self, value: &f64) -> Option<String> {
        Some(format!("{value:?}"))
    }

    fn description(&self) -> String {
        format!("{} to {}", self.0, self.1)
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": self.0, "maximum": self.1 })
    }
}

/// A time with its unit, between the two, inclusive.
pub(super) struct Time(pub(super) Duration, pub(super) Duration);

impl ValueType for Time {
    type Value = Duration;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Duration> {
        const FORM: &str = "write a time with its unit, such as `500ms`, `30s` or `1m30s`";
        let Some(text) = raw.scalar_text() else {
            return invalid(format!("is {}", raw.describe()), "write a time with its unit, such as `30s`");
        };
        let range = self.0..=self.1;
        let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if bare && !(text == "0" && range.contains(&Duration::ZERO)) {
            return invalid(format!("is {}, without a unit", quote(text)), format!("write `{text}s` for seconds"));
        }
        match humantime::parse_duration(text) {
            Ok(value) if range.contains(&value) => Ok(value),
            Ok(_) => {
                let remedy = format!("set it between {} and {}", show_duration(self.0), show_duration(self.1));
                invalid(format!("is {}", quote(text)), remedy)
            }
            Err(_) => invalid(format!("is {}", raw.describe()), FORM),
        }
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(show_duration(*value))
    }

    fn description(&self) -> String {
        format!("{} to {}", show_duration(self.0), show_duration(self.1))
    }

    fn schema(&self) -> Json {
        let time = json!({ "type": "string", "pattern": "^([0-9]+ *[A-Za-z]+ *)+$" });
        if self.0.is_zero() { json!({ "anyOf": [time, { "enum": [0, "0"] }] }) } else { time }
    }
}

/// A time between the two, inclusive, or 0 for none.
pub(super) struct TimeOrNone(pub(super) Duration, pub(super) Duration);

impl ValueType for TimeOrNone {
    type Value = Option<Duration>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Option<Duration>> {
        match raw.scalar_text() {
            Some(text) if text == "0" || humantime::parse_duration(text) == Ok(Duration::ZERO) => Ok(None),
            _ => Time(self.0, self.1).read(raw).map(Some),
        }
    }

    fn show(&self, value: &Option<Duration>) -> Option<String> {
        Some(value.map_or_else(|| "0".to_owned(), show_duration))
    }

    fn description(&self) -> String {
        format!("{}, or 0", Time(self.0, self.1).description())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [Time(self.0, self.1).schema(), { "enum": [0, "0"] }] })
    }
}

/// A time in the syntax of the file.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}
