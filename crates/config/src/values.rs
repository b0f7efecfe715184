//! The types of values. Each type parses a value, explains an invalid one, writes a value, and has a
//! JSON Schema.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::node::{Kind, Node};
use super::raw::{Raw, ReadResult, ValueError, invalid, quote};
use super::scalar::Scalar;

/// The minimum of deadlines and intervals.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A type of value.
pub(super) trait ValueType {
    type Value: Clone;

    /// Parses a value.
    fn read(&self, raw: &Raw<'_>) -> ReadResult<Self::Value>;

    /// A value in the syntax of the file, without quotes. `None`: there is none.
    fn show(&self, value: &Self::Value) -> Option<String>;

    /// The valid values, such as `100ms to 1h`.
    fn description(&self) -> String;

    /// The JSON Schema of the type.
    fn schema(&self) -> Json;

    /// A warning about a valid value: a fact without its subject, and the remedy.
    fn remark(&self, _value: &Self::Value) -> Option<(String, String)> {
        None
    }

    /// Whether a file needs quotes around some of its values.
    fn is_text(&self) -> bool {
        false
    }
}

/// Any text.
pub(super) struct Text;

impl ValueType for Text {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<String> {
        match raw.text() {
            Some(text) => Ok(text.to_owned()),
            None => invalid(
                format!("is {}", raw.describe()),
                "write text; put quotes around text that looks like another type",
            ),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn description(&self) -> String {
        "text".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// A list of texts.
pub(super) struct TextList;

impl ValueType for TextList {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<String>> {
        let Raw::Node(Node { kind: Kind::List(items), .. }) = raw else {
            return invalid(format!("is {}", raw.describe()), "write a list, such as `[--flag, value]`");
        };
        let item = |(index, item): (usize, &Node)| {
            Text.read(&Raw::Node(item))
                .map_err(|error| ValueError { fact: format!("has item {}, which {}", index + 1, error.fact), ..error })
        };
        items.iter().enumerate().map(item).collect()
    }

    fn show(&self, value: &Vec<String>) -> Option<String> {
        Some(json!(value).to_string())
    }

    fn description(&self) -> String {
        "a list of texts".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// Any scalar, for keys that only other readers of the file use.
pub(super) struct AnyScalar;

impl ValueType for AnyScalar {
    type Value = ();

    fn read(&self, raw: &Raw<'_>) -> ReadResult<()> {
        if raw.scalar().is_some() { Ok(()) } else { invalid(format!("is {}", raw.describe()), "write a single value") }
    }

    fn show(&self, (): &()) -> Option<String> {
        None
    }

    fn description(&self) -> String {
        "a single value".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "number", "boolean", "null"] })
    }
}

/// Another type, or an empty text for no value, as in the files of the Go programs.
pub(super) struct OrEmpty<T>(pub(super) T);

impl<T: ValueType> ValueType for OrEmpty<T> {
    type Value = Option<T::Value>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Self::Value> {
        if raw.text() == Some("") { Ok(None) } else { self.0.read(raw).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn description(&self) -> String {
        format!("{}, or empty", self.0.description())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), { "const": "" }] })
    }

    fn remark(&self, value: &Self::Value) -> Option<(String, String)> {
        value.as_ref().and_then(|value| self.0.remark(value))
    }

    /// An empty value is an empty text.
    fn is_text(&self) -> bool {
        true
    }
}

/// `true` or `false`.
pub(super) struct Boolean;

impl ValueType for Boolean {
    type Value = bool;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<bool> {
        match raw.scalar() {
            Some((_, Scalar::Bool(truth))) => Ok(truth),
            _ => invalid(format!("is {}", raw.describe()), "write `true` or `false`"),
        }
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// 1 to 100 of `[A-Za-z0-9_-]`.
pub(super) struct AgentIdentifier;

impl ValueType for AgentIdentifier {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<String> {
        let id = match raw.text() {
            Some(id) => id,
            None => {
                let remedy = "write a name, such as `agent-001`; put quotes around a name of digits only";
                return invalid(format!("is {}", raw.describe()), remedy);
            }
        };
        if id.is_empty() {
            return invalid("is empty", "write a name, such as `agent-001`");
        }
        if id.len() > 100 {
            return invalid(format!("has {} characters", id.chars().count()), "use at most 100");
        }
        match id.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            None => Ok(id.to_owned()),
            Some(c) => invalid(
                format!("is {}, which contains {}", quote(id), quote(&c.to_string())),
                "use letters, digits, `_` and `-`",
            ),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn description(&self) -> String {
        "1 to 100 letters, digits, `_` and `-`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// One of several words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> ValueType for Choice<T> {
    type Value = T;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<T> {
        let given = raw.text();
        match self.0.iter().find(|(word, _)| given == Some(word)) {
            Some((_, value)) => Ok(*value),
            None => invalid(format!("is {}", raw.describe()), format!("write {}", self.description())),
        }
    }

    fn show(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, known)| known == value).map(|(word, _)| (*word).to_owned())
    }

    fn description(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.join(""),
        }
    }

    fn schema(&self) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| word).collect::<Vec<_>>() })
    }
}
