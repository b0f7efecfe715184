//! Reads untrusted YAML into a tree with spans.
//!
//! Two parsers are used. `serde_yaml` decides whether the file is valid YAML, and its rules give the
//! kind of a scalar (see [`super::scalar`]). But it has no spans, stops at a duplicate key, and needs
//! quadratic time for nested brackets. So `saphyr-parser` runs first. Its events have spans and come
//! one by one, so a file that is too deep or too large is refused early.

use serde::de::IgnoredAny;

use super::node::Node;
use super::problem::{Location, Problem};
use super::source::Source;
use super::syntax::{char_at, syntax};
use super::tree::Builder;

/// The size limits of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The size, in KiB.
    pub(super) kib: usize,
    /// The number of values, with aliases expanded.
    pub(super) values: usize,
}

impl Bounds {
    pub(super) const fn bytes(self) -> usize {
        self.kib * 1024
    }
}

/// The limits of an agent's configuration.
pub(super) const AGENT: Bounds = Bounds { kib: 64, values: 32 * 1024 };
/// The limits of a daemon's configuration: a few hundred bytes for each of ten thousand agents.
pub(super) const DAEMON: Bounds = Bounds { kib: 4096, values: 1024 * 1024 };

/// Checks the size, and converts the bytes to text: UTF-8 without control characters. A byte order
/// mark is removed.
pub(super) fn decode(name: &str, bytes: &[u8], bounds: Bounds) -> Result<Source, Box<(Source, Problem)>> {
    let refuse = |text: &str, fact: String, remedy: &str, at: Option<usize>| {
        let location = at.map_or(Location::WholeFile, |at| Location::File(char_at(text, at)));
        let problem = Problem { key: None, fact, remedy: remedy.to_owned(), location, other: None };
        Err(Box::new((Source::new(name, text.to_owned()), problem)))
    };
    if bytes.len() > bounds.bytes() {
        return refuse(
            "",
            format!("the file is larger than {} KiB", bounds.kib),
            "check that this is a configuration file",
            None,
        );
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = Source::new(name, good.into_owned()).line(error.valid_up_to());
            return refuse("", format!("the file is not UTF-8 from line {line} on"), "save it as UTF-8", None);
        }
    };
    let unwanted = |&(_, c): &(usize, char)| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    if let Some((at, c)) = text.char_indices().find(unwanted) {
        return refuse(text, format!("this is the control character U+{:04X}", u32::from(c)), "remove it", Some(at));
    }
    Ok(Source::new(name, text.to_owned()))
}

/// Reads the tree, and returns the problems. `None`: the tree could not be read, and there is a problem.
pub(super) fn read(source: &Source, bounds: Bounds) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder::new(source, bounds.values);
    let read = builder.run().and_then(|()| check_with_serde_yaml(source));
    let mut problems = builder.problems.take();
    match read {
        Ok(()) => (Some(builder.root.unwrap_or_else(|| Node::nothing(0..0))), problems),
        Err(problem) => {
            problems.push(*problem);
            (None, problems)
        }
    }
}

fn check_with_serde_yaml(source: &Source) -> Result<(), Box<Problem>> {
    serde_yaml::from_str::<IgnoredAny>(&source.text).map(|_| ()).map_err(|error| {
        let at = error.location().map_or(0, |location| {
            let line = source.line_text(location.line());
            let column = line.char_indices().nth(location.column().saturating_sub(1)).map_or(line.len(), |(at, _)| at);
            source.line_start(location.line()) + column
        });
        // The text of a syntax error quotes nothing from the file. Its own line and column are cut off.
        let text = error.to_string();
        let fact = text.split(" at line ").next().unwrap_or_default();
        syntax(source, at, fact)
    })
}
