//! The text of a file, and the line and column of each byte.

use std::ops::Range;

/// A range of a file, in bytes.
pub(super) type Span = Range<usize>;

/// The text of a file, with its name in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// The start of each line, in bytes.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &str, text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { name: name.to_owned(), text, lines }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|&start| start <= byte).max(1)
    }

    /// The column of a byte, counted from 1 in characters.
    pub(super) fn column(&self, byte: usize) -> usize {
        let start = self.line_start(self.line(byte));
        self.text.get(start..byte).map_or(1, |before| before.chars().count() + 1)
    }

    /// The start of a line, in bytes.
    pub(super) fn line_start(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// A line without its line feed.
    pub(super) fn line_text(&self, line: usize) -> &str {
        let text = self.text.get(self.line_start(line)..self.line_start(line + 1)).unwrap_or_default();
        text.trim_end_matches(['\n', '\r'])
    }
}
