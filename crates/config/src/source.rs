//! The text of a file and of the files that it includes, and the file, line and column of each byte.

use std::ops::Range;

/// A range of the text, in bytes.
pub(super) type Span = Range<usize>;

/// The text of a file, with its name in messages. The texts of included files follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) text: String,
    /// The start of each line, in bytes.
    lines: Vec<usize>,
    /// The files, in the order of their texts. Never empty.
    parts: Vec<Part>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    /// The start of its text, in bytes.
    start: usize,
    /// The index of its first line.
    first_line: usize,
}

impl Source {
    pub(super) fn new(name: &str, text: String) -> Self {
        let lines = line_starts(&text, 0).collect();
        Self { text, lines, parts: vec![Part { name: name.to_owned(), start: 0, first_line: 0 }] }
    }

    /// Appends an included file. Returns the byte at which it starts.
    pub(super) fn append(&mut self, file: &Self) -> usize {
        // Each file begins with a line of its own, and the end of a file is a byte of it.
        self.text.push('\n');
        let start = self.text.len();
        let part = Part { name: file.name().to_owned(), start, first_line: self.lines.len() };
        self.lines.extend(line_starts(&file.text, start));
        self.text.push_str(&file.text);
        self.parts.push(part);
        start
    }

    /// The name of the file itself.
    pub(super) fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.name)
    }

    /// The name of the file that a byte is in.
    pub(super) fn name_at(&self, byte: usize) -> &str {
        self.part(byte).map_or("", |part| &part.name)
    }

    /// The index of the file that a byte is in. 0: the file itself.
    pub(super) fn file_at(&self, byte: usize) -> usize {
        self.parts.partition_point(|part| part.start <= byte).saturating_sub(1)
    }

    /// The text of each file.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let ends = self.parts.iter().skip(1).map(|part| part.start).chain([self.text.len()]);
        self.parts.iter().zip(ends).map(|(part, end)| self.text.get(part.start..end).unwrap_or_default())
    }

    fn part(&self, byte: usize) -> Option<&Part> {
        self.parts.get(self.file_at(byte))
    }

    /// The line of a byte in its file, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        (self.line_index(byte) + 1).saturating_sub(self.part(byte).map_or(0, |part| part.first_line)).max(1)
    }

    /// The index of the line of a byte among all lines.
    fn line_index(&self, byte: usize) -> usize {
        self.lines.partition_point(|&start| start <= byte).saturating_sub(1)
    }

    /// The line of a byte for a message about another byte. It names the file if that is another one.
    pub(super) fn place(&self, byte: usize, seen_from: usize) -> String {
        let line = self.line(byte);
        if self.file_at(byte) == self.file_at(seen_from) {
            format!("line {line}")
        } else {
            format!("line {line} of {}", self.name_at(byte))
        }
    }

    /// The column of a byte, counted from 1 in characters.
    pub(super) fn column(&self, byte: usize) -> usize {
        let start = self.lines.get(self.line_index(byte)).copied().unwrap_or_default();
        self.text.get(start..byte).map_or(1, |before| before.chars().count() + 1)
    }

    /// The range of the whole lines that a span is in.
    pub(super) fn whole_lines(&self, span: &Span) -> Span {
        let start = self.lines.get(self.line_index(span.start)).copied().unwrap_or_default();
        let end = self.lines.get(self.line_index(span.end) + 1).copied().unwrap_or(self.text.len());
        start..end
    }

    /// The start of a line of a file without included ones, in bytes.
    pub(super) fn line_start(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// A line of a file without included ones, without its line feed.
    pub(super) fn line_text(&self, line: usize) -> &str {
        let text = self.text.get(self.line_start(line)..self.line_start(line + 1)).unwrap_or_default();
        text.trim_end_matches(['\n', '\r'])
    }
}

fn line_starts(text: &str, base: usize) -> impl Iterator<Item = usize> {
    let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(move |(at, _)| base + at + 1);
    std::iter::once(base).chain(breaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_a_line_and_a_column_in_its_own_file() {
        for (first, length) in [("a\nbc\n", 6), ("a\nbc", 5)] {
            let mut source = Source::new("one", first.to_owned());
            let second = source.append(&Source::new("two", "d\nef".to_owned()));
            let third = source.append(&Source::new("three", String::new()));
            let at = |byte| (source.name_at(byte), source.line(byte), source.column(byte));
            assert_eq!((second, third), (length, length + 5), "{first:?}");
            assert_eq!((at(0), at(3)), (("one", 1, 1), ("one", 2, 2)));
            assert_eq!(at(length - 1).0, "one", "the end of a file is in it");
            assert_eq!((at(second), at(second + 3)), (("two", 1, 1), ("two", 2, 2)));
            assert_eq!(at(third), ("three", 1, 1));
            assert_eq!(source.place(0, 1), "line 1");
            assert_eq!(source.place(second + 2, 0), "line 2 of two");
            assert_eq!(source.text.get(source.whole_lines(&(second + 2..second + 3))), Some("ef\n"));
            assert_eq!(source.texts().collect::<Vec<_>>(), [format!("{first}\n").as_str(), "d\nef\n", ""]);
        }
    }
}
