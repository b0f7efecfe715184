//! A value before it is parsed, and the errors of parsing it.

use super::mask::{PEM, mask_address};
use super::node::{Kind, Node};
use super::scalar::{Number, Scalar, plain};

/// A value before it is parsed.
#[derive(Clone)]
pub(super) enum Raw<'a> {
    /// From the file.
    Node(&'a Node),
    /// From a variable or a flag, which have only text.
    Text(&'a str),
}

/// Why a value is invalid. The fact follows the name of the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValueError {
    pub(super) fact: String,
    pub(super) remedy: String,
}

pub(super) type ReadResult<T> = Result<T, ValueError>;

pub(super) fn invalid<T>(fact: impl Into<String>, remedy: impl Into<String>) -> ReadResult<T> {
    Err(ValueError { fact: fact.into(), remedy: remedy.into() })
}

impl<'a> Raw<'a> {
    /// The text of a scalar, and its kind.
    pub(super) fn scalar(&self) -> Option<(&'a str, Scalar)> {
        match self {
            Raw::Text(text) => Some((text, plain(text.trim()))),
            Raw::Node(Node { kind: Kind::Scalar { text, quoted: true }, .. }) => Some((text, Scalar::Text)),
            Raw::Node(Node { kind: Kind::Scalar { text, quoted: false }, .. }) => Some((text, plain(text))),
            Raw::Node(_) => None,
        }
    }

    /// The text, if the value is text.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::Node(_) => self.scalar().filter(|(_, kind)| *kind == Scalar::Text).map(|(text, _)| text),
        }
    }

    /// The text of a scalar of any kind.
    pub(super) fn scalar_text(&self) -> Option<&'a str> {
        self.scalar().map(|(text, _)| text)
    }

    /// The number, with its text in the file.
    pub(super) fn number(&self) -> Option<(&'a str, Number)> {
        match self.scalar() {
            Some((text, Scalar::Number(number))) => Some((text.trim(), number)),
            _ => None,
        }
    }

    /// The value in a message.
    pub(super) fn describe(&self) -> String {
        match (self, self.scalar()) {
            (_, Some((_, Scalar::Null))) => "empty".to_owned(),
            (Raw::Text(text), _) => quote(text),
            (_, Some((text, Scalar::Bool(_)))) => format!("the boolean {}", quote(text)),
            (_, Some((text, Scalar::Number(_)))) => format!("the number {}", quote(text)),
            (_, Some((text, Scalar::Text))) => quote(text),
            (Raw::Node(Node { kind: Kind::List(_), .. }), _) => "a list".to_owned(),
            (Raw::Node(_), None) => "a section".to_owned(),
        }
    }
}

/// Quotes a value in a message: shortened, on one line, and without a password.
pub(super) fn quote(text: &str) -> String {
    const MAX: usize = 60;
    let text = text.split(PEM).next().unwrap_or_default();
    let text = mask_address(text);
    let end = text.char_indices().nth(MAX).map_or(text.len(), |(at, _)| at);
    let dots = if end < text.len() { "…" } else { "" };
    format!("`{}{dots}`", text[..end].escape_debug())
}
