//! A value as it was given, before it is read, and what can be wrong with it.

use super::mask::{PEM, mask_user_info};
use super::node::{Kind, Node};
use super::scalar::{Number, Scalar, plain};

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
    pub(super) fn scalar(&self) -> Option<(&'a str, Scalar)> {
        match self {
            Raw::Text(text) => Some((text, plain(text.trim()))),
            Raw::Node(Node { kind: Kind::Scalar { text, quoted: true }, .. }) => Some((text, Scalar::Text)),
            Raw::Node(Node { kind: Kind::Scalar { text, quoted: false }, .. }) => Some((text, plain(text))),
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

    /// The text of a scalar, whatever it is.
    pub(super) fn scalar_text(&self) -> Option<&'a str> {
        self.scalar().map(|(text, _)| text)
    }

    /// A number and how it is written.
    pub(super) fn number(&self) -> Option<(&'a str, Number)> {
        match self.scalar() {
            Some((text, Scalar::Number(number))) => Some((text.trim(), number)),
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
