//! What a value may be: each function here makes a reader for one kind of value, and says what is wrong with any other.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http_client::http_types::Url;
use serde_yaml::Number;

use super::mask::mask_user_info;
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

fn fault<T>(fact: impl Into<String>, remedy: impl Into<String>) -> Read<T> {
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
    fn text(&self) -> Option<&'a str> {
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
    fn describe(&self) -> String {
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
    let text = mask_user_info(text);
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
    let dots = if end < text.len() { "…" } else { "" };
    format!("`{}{dots}`", text[..end].escape_debug())
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

/// An IP address, or `localhost`.
pub(super) fn host(raw: &Raw<'_>) -> Read<IpAddr> {
    let address = match raw.text() {
        Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(text) => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
        None => None,
    };
    match address {
        Some(address) => Ok(address),
        None => fault(format!("is {}", raw.describe()), "write an IP address, such as `127.0.0.1`, or `localhost`"),
    }
}

/// The path of a file.
pub(super) fn path(raw: &Raw<'_>) -> Read<PathBuf> {
    match raw.text() {
        None => fault(format!("is {}", raw.describe()), "write a path"),
        Some("") => fault("is empty", "write a path"),
        Some(text) if text.ends_with('/') || text.ends_with("/.") || matches!(text, "." | "..") => {
            fault(format!("is {}, a directory", quote(text)), "write the path of a file")
        }
        Some(text) => Ok(PathBuf::from(text)),
    }
}

/// Where a daemon takes heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Http(Url),
    Unix(PathBuf),
}

/// An `http://` address, or `unix://` and an absolute path.
pub(super) fn endpoint(raw: &Raw<'_>) -> Read<Endpoint> {
    const UNIX: &str = "write `unix://` and an absolute path, such as `unix:///run/daemon.sock`";
    let text = raw.text().unwrap_or_default();
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && !path.ends_with('/') => Ok(Endpoint::Unix(PathBuf::from(path))),
        Some(_) => fault(format!("is {}", quote(text)), UNIX),
        None => http_address(raw).map(Endpoint::Http),
    }
}

/// An `http://` address without user and password.
pub(super) fn http_address(raw: &Raw<'_>) -> Read<Url> {
    const EXAMPLE: &str = "write an address such as `http://127.0.0.1:8080/heartbeat`";
    let Some(text) = raw.text() else { return fault(format!("is {}", raw.describe()), EXAMPLE) };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return fault(format!("is {}, which is no address: {error}", quote(text)), EXAMPLE),
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            fault("has a user or a password in it", "remove them: an address is logged and shown")
        }
        "https" => fault(
            format!("is {}, and TLS is not in this build", quote(text)),
            "use `http://` on this host or a trusted network",
        ),
        "http" if url.has_host() => Ok(url),
        _ => fault(format!("is {}", quote(text)), EXAMPLE),
    }
}
