//! What a value may be. Each type here says how it is read, what is wrong with anything else, how
//! it is written, and what a JSON Schema says of it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::node::{Kind, Node};
use super::raw::{Fault, Raw, Read, fault, quote};
use super::scalar::Scalar;

/// The shortest time that makes sense for a deadline or a cadence.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A type of value.
pub(super) trait ValueType {
    type Value: Clone;

    /// The value, or what is wrong with it.
    fn read(&self, raw: &Raw<'_>) -> Read<Self::Value>;

    /// The value as a file gives it, without quotes. `None`: there is none.
    fn show(&self, value: &Self::Value) -> Option<String>;

    /// What may be written, in words: `100ms to 1h`.
    fn words(&self) -> String;

    /// What a JSON Schema says of it.
    fn schema(&self) -> Json;

    /// Whether a file needs quotes around some of its values.
    fn is_text(&self) -> bool {
        false
    }
}

/// Any text.
pub(super) struct Text;

impl ValueType for Text {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> Read<String> {
        match raw.text() {
            Some(text) => Ok(text.to_owned()),
            None => fault(format!("is {}", raw.describe()), "write text; what looks like something else needs quotes"),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn words(&self) -> String {
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
pub(super) struct Texts;

impl ValueType for Texts {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> Read<Vec<String>> {
        let Raw::Node(Node { kind: Kind::List(items), .. }) = raw else {
            return fault(format!("is {}", raw.describe()), "write a list, such as `[--flag, value]`");
        };
        let item = |(index, item): (usize, &Node)| {
            Text.read(&Raw::Node(item))
                .map_err(|fault| Fault { fact: format!("has item {}, which {}", index + 1, fault.fact), ..fault })
        };
        items.iter().enumerate().map(item).collect()
    }

    fn show(&self, value: &Vec<String>) -> Option<String> {
        Some(json!(value).to_string())
    }

    fn words(&self) -> String {
        "a list of texts".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// Any scalar, which means something to other readers of the file only.
pub(super) struct Anything;

impl ValueType for Anything {
    type Value = ();

    fn read(&self, raw: &Raw<'_>) -> Read<()> {
        if raw.scalar().is_some() { Ok(()) } else { fault(format!("is {}", raw.describe()), "write a single value") }
    }

    fn show(&self, (): &()) -> Option<String> {
        None
    }

    fn words(&self) -> String {
        "a single value".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "number", "boolean", "null"] })
    }
}

/// Another type, or nothing: an empty text, which is how the files of the Go programs say so.
pub(super) struct OrEmpty<T>(pub(super) T);

impl<T: ValueType> ValueType for OrEmpty<T> {
    type Value = Option<T::Value>;

    fn read(&self, raw: &Raw<'_>) -> Read<Self::Value> {
        if raw.text() == Some("") { Ok(None) } else { self.0.read(raw).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn words(&self) -> String {
        format!("{}, or empty", self.0.words())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), { "const": "" }] })
    }

    fn is_text(&self) -> bool {
        self.0.is_text()
    }
}

/// `true` or `false`.
pub(super) struct Truth;

impl ValueType for Truth {
    type Value = bool;

    fn read(&self, raw: &Raw<'_>) -> Read<bool> {
        match raw.scalar() {
            Some((_, Scalar::Bool(truth))) => Ok(truth),
            _ => fault(format!("is {}", raw.describe()), "write `true` or `false`"),
        }
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn words(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// 1 to 100 of `[A-Za-z0-9_-]`.
pub(super) struct Identity;

impl ValueType for Identity {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> Read<String> {
        let id = match raw.text() {
            Some(id) => id,
            None => {
                let remedy = "write a name, such as `agent-001`; one of digits alone needs quotes";
                return fault(format!("is {}", raw.describe()), remedy);
            }
        };
        if id.is_empty() {
            return fault("is empty", "write a name, such as `agent-001`");
        }
        if id.len() > 100 {
            return fault(format!("has {} characters", id.chars().count()), "use at most 100");
        }
        match id.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            None => Ok(id.to_owned()),
            Some(c) => fault(
                format!("is {}: {} cannot be in it", quote(id), quote(&c.to_string())),
                "use letters, digits, `_` and `-`",
            ),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn words(&self) -> String {
        "1 to 100 letters, digits, `_` and `-`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> ValueType for Choice<T> {
    type Value = T;

    fn read(&self, raw: &Raw<'_>) -> Read<T> {
        let given = raw.text();
        match self.0.iter().find(|(word, _)| given == Some(word)) {
            Some((_, value)) => Ok(*value),
            None => fault(format!("is {}", raw.describe()), format!("write {}", self.words())),
        }
    }

    fn show(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, known)| known == value).map(|(word, _)| (*word).to_owned())
    }

    fn words(&self) -> String {
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
