//! YAML, read on guard, into a tree that knows where everything stands.
//!
//! Two parsers share the work. `serde_yaml` decides whether the file is YAML: what it refuses is
//! refused, and what a scalar is follows its rules (see [`super::scalar`]). But it forgets where a
//! value stood, stops at the first of two equal keys, and needs quadratic time for nested brackets.
//! So `saphyr-parser` goes first: its events carry their places and come one by one, so that a file
//! that is too deep or too large is refused early.

use serde::de::IgnoredAny;

use super::node::Node;
use super::problem::{Place, Problem};
use super::source::Source;
use super::syntax::{char_at, syntax};
use super::tree::Builder;

/// How much a file may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Its size, in KiB.
    pub(super) kib: usize,
    /// Its values, aliases written out.
    pub(super) values: usize,
}

impl Bounds {
    pub(super) const fn bytes(self) -> usize {
        self.kib * 1024
    }
}

/// An agent's configuration is a small file.
pub(super) const AGENT: Bounds = Bounds { kib: 64, values: 32 * 1024 };
/// A daemon's takes a few hundred bytes for each agent: room for ten thousand.
pub(super) const DAEMON: Bounds = Bounds { kib: 4096, values: 1024 * 1024 };

/// Bytes as text, if they can be a configuration at all: not too many, UTF-8, no byte order mark,
/// no control characters.
pub(super) fn decode(name: &str, bytes: &[u8], bounds: Bounds) -> Result<Source, Box<(Source, Problem)>> {
    let refuse = |text: &str, fact: String, remedy: &str, at: Option<usize>| {
        let place = at.map_or(Place::WholeFile, |at| Place::File(char_at(text, at)));
        let problem = Problem { key: None, fact, remedy: remedy.to_owned(), place, other: None };
        Err(Box::new((Source::new(name, text.to_owned()), problem)))
    };
    if bytes.len() > bounds.bytes() {
        return refuse(
            "",
            format!("the file is larger than {} KiB", bounds.kib),
            "give a configuration, not another file",
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
        return refuse(
            text,
            format!("a control character, U+{:04X}, stands here", u32::from(c)),
            "remove it",
            Some(at),
        );
    }
    Ok(Source::new(name, text.to_owned()))
}

/// Reads the tree. `None` if there is none: then there are problems. With a tree, there may be some too.
pub(super) fn read(source: &Source, bounds: Bounds) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder::new(source, bounds.values);
    let read = builder.run().and_then(|()| second_opinion(source));
    let mut problems = builder.problems.take();
    match read {
        Ok(()) => (Some(builder.root.unwrap_or_else(|| Node::nothing(0..0))), problems),
        Err(problem) => {
            problems.push(*problem);
            (None, problems)
        }
    }
}

fn second_opinion(source: &Source) -> Result<(), Box<Problem>> {
    serde_yaml::from_str::<IgnoredAny>(&source.text).map(|_| ()).map_err(|error| {
        let at = error.location().map_or(0, |location| {
            let line = source.line_text(location.line());
            let column = line.char_indices().nth(location.column().saturating_sub(1)).map_or(line.len(), |(at, _)| at);
            source.line_start(location.line()) + column
        });
        // A syntax error quotes nothing of the file; its own words for the place are cut off.
        let text = error.to_string();
        let fact = text.split(" at line ").next().unwrap_or_default();
        syntax(source, at, fact)
    })
}
