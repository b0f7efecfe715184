//! What a value may be: each function here makes a reader for one kind of value, and says what is wrong with any other.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Number;

use super::mask::{PEM, mask_user_info};
use super::yaml::{Kind, Node, Scalar, scalar};

/// A value as it was given.
pub(super) enum Raw<'a> {
    /// In the file.
    Node(&'a Node),
    /// In a variable or behind a flag, where everything is text.
    Text(&'a str),
}

/// Why a value is not right: what follows the key's name in the fact, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) fact: String,
    pub(super) remedy: String,
}

pub(super) type Read<T> = Result<T, Fault>;

pub(super) fn fault<T>(fact: impl Into<String>, remedy: impl Into<String>) -> Read<T> {
    Err(Fault { fact: fact.into(), remedy: remedy.into() })
}

impl<'a> Raw<'a> {
    /// The text of a scalar and what it is.
    fn scalar(&self) -> Option<(&'a str, Scalar)> {
        match self {
            Raw::Text(text) => Some((text, scalar(text, false))),
            Raw::Node(Node { kind: Kind::Scalar { text, quoted }, .. }) => Some((text, scalar(text, *quoted))),
            Raw::Node(_) => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::Node(_) => self.scalar().filter(|(_, kind)| *kind == Scalar::Text).map(|(text, _)| text),
        }
    }

    fn number(&self) -> Option<Number> {
        match self.scalar() {
            Some((_, Scalar::Number(number))) => Some(number),
            _ => None,
        }
    }

    /// What it is, for a message.
    pub(super) fn describe(&self) -> String {
        match (self, self.scalar()) {
            (_, Some((_, Scalar::Null))) => "empty".to_owned(),
            (Raw::Text(text), _) => quote(text),
            (_, Some((text, Scalar::Bool(_)))) => format!("the truth value {}", quote(text)),
            (_, Some((text, Scalar::Number(_)))) => format!("the number {}", quote(text)),
            (_, Some((text, Scalar::Text))) => quote(text),
            (Raw::Node(Node { kind: Kind::List(_), .. }), _) => "a list".to_owned(),
            (Raw::Node(_), None) => "a section".to_owned(),
        }
    }
}

/// A value in a message: short, on one line, and without a password.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = text.split(PEM).next().unwrap_or_default();
    let text = mask_user_info(text);
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
    let dots = if end < text.len() { "…" } else { "" };
    format!("`{}{dots}`", text[..end].escape_debug())
}

/// Any text.
pub(super) fn text(raw: &Raw<'_>) -> Read<String> {
    match raw.text() {
        Some(text) => Ok(text.to_owned()),
        None => fault(format!("is {}", raw.describe()), "write text; what looks like something else needs quotes"),
    }
}

/// A list of texts.
pub(super) fn texts(raw: &Raw<'_>) -> Read<Vec<String>> {
    let Raw::Node(Node { kind: Kind::List(items), .. }) = raw else {
        return fault(format!("is {}", raw.describe()), "write a list, such as `[--flag, value]`");
    };
    let item = |(index, item): (usize, &Node)| {
        text(&Raw::Node(item))
            .map_err(|fault| Fault { fact: format!("has item {}, which {}", index + 1, fault.fact), ..fault })
    };
    items.iter().enumerate().map(item).collect()
}

/// Any scalar, whatever it means to whoever else reads the file.
pub(super) fn anything(raw: &Raw<'_>) -> Read<()> {
    if raw.scalar().is_some() { Ok(()) } else { fault(format!("is {}", raw.describe()), "write a single value") }
}

/// Nothing if the text is empty, which is how the files of the Go programs say so.
pub(super) fn unless_empty<T>(read: impl Fn(&Raw<'_>) -> Read<T>) -> impl Fn(&Raw<'_>) -> Read<Option<T>> {
    move |raw| if raw.text() == Some("") { Ok(None) } else { read(raw).map(Some) }
}

/// `true` or `false`.
pub(super) fn truth(raw: &Raw<'_>) -> Read<bool> {
    match raw.scalar() {
        Some((_, Scalar::Bool(truth))) => Ok(truth),
        _ => fault(format!("is {}", raw.describe()), "write `true` or `false`"),
    }
}

/// 1 to 100 of `[A-Za-z0-9_-]`.
pub(super) fn identity(raw: &Raw<'_>) -> Read<String> {
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

/// A whole number within a range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Raw<'_>) -> Read<T>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    move |raw| {
        let remedy = format!("set it between {} and {}", range.start(), range.end());
        let Some(number) = raw.number() else {
            return fault(
                format!("is {}", raw.describe()),
                format!("write a whole number between {} and {}", range.start(), range.end()),
            );
        };
        match number.as_u64().and_then(|number| T::try_from(number).ok()) {
            Some(value) if range.contains(&value) => Ok(value),
            _ => fault(format!("is {number}"), remedy),
        }
    }
}

/// A number within a range, whole or not.
pub(super) fn decimal(range: RangeInclusive<f64>) -> impl Fn(&Raw<'_>) -> Read<f64> {
    move |raw| {
        let remedy = format!("set it between {} and {}", range.start(), range.end());
        match raw.number() {
            None => fault(format!("is {}", raw.describe()), remedy),
            Some(number) => match number.as_f64() {
                Some(value) if range.contains(&value) => Ok(value),
                _ => fault(format!("is {number}"), remedy),
            },
        }
    }
}

/// A time span with its unit, within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Raw<'_>) -> Read<Duration> {
    move |raw| {
        let Some((text, kind)) = raw.scalar() else {
            return fault(format!("is {}", raw.describe()), "write a time with its unit, such as `30s`");
        };
        let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if bare && !(text == "0" && range.contains(&Duration::ZERO)) {
            return fault(
                format!("is {}, without a unit", quote(text)),
                format!("write `{text}s` if seconds are meant"),
            );
        }
        let parsed = match kind {
            Scalar::Null | Scalar::Bool(_) => None,
            Scalar::Number(_) | Scalar::Text => humantime::parse_duration(text).ok(),
        };
        match parsed {
            Some(value) if range.contains(&value) => Ok(value),
            Some(_) => fault(format!("is {}", quote(text)), between(&range)),
            None => {
                fault(format!("is {}", raw.describe()), "write a time with its unit, such as `500ms`, `30s` or `1m30s`")
            }
        }
    }
}

fn between(range: &RangeInclusive<Duration>) -> String {
    format!("set it between {} and {}", show_duration(*range.start()), show_duration(*range.end()))
}

/// A time span within a range, or 0 for none.
pub(super) fn duration_or_none(range: RangeInclusive<Duration>) -> impl Fn(&Raw<'_>) -> Read<Option<Duration>> {
    move |raw| match raw.scalar() {
        Some(("0", _)) => Ok(None),
        _ => duration(range.clone())(raw).map(|value| Some(value).filter(|value| !value.is_zero())),
    }
}

/// A time span as it is written in a file.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Raw<'_>) -> Read<T> {
    move |raw| {
        let given = raw.text();
        if let Some((_, value)) = words.iter().find(|(word, _)| given == Some(word)) {
            return Ok(*value);
        }
        let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let remedy = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("write {} or {last}", rest.join(", ")),
            _ => format!("write {}", names.join("")),
        };
        fault(format!("is {}", raw.describe()), remedy)
    }
}
