//! The tree of a file. Every value has its span.

use super::source::{Source, Span};

/// A value with its span.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a section, with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn nothing(span: Span) -> Self {
        Self { span, kind: Kind::Scalar { text: String::new(), quoted: false } }
    }

    /// Whether the value is empty. A section whose keys are all commented out is valid.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if text.is_empty())
    }

    /// Whether the value is empty, or null in another spelling.
    pub(super) fn is_null(&self) -> bool {
        let is_null = |text: &str| matches!(text, "" | "~" | "null" | "Null" | "NULL");
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if is_null(text))
    }

    /// The value of a dotted key, with the span of the last part of the key.
    pub(super) fn find(&self, key: &str) -> Option<(&Span, &Self)> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let Kind::Map(entries) = &self.kind else { return None };
        let entry = entries.iter().find(|entry| entry.key == first)?;
        match rest {
            None => Some((&entry.key_span, &entry.value)),
            Some(rest) => entry.value.find(rest),
        }
    }

    /// Moves it by this number of bytes.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.span = shifted(&self.span, bytes);
        match &mut self.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter_mut().for_each(|item| item.shift(bytes)),
            Kind::Map(entries) => {
                for entry in entries {
                    entry.key_span = shifted(&entry.key_span, bytes);
                    entry.value.shift(bytes);
                }
            }
        }
    }

    /// The number of values in it, including itself and the keys.
    pub(super) fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| 1 + entry.value.size()).sum(),
        }
    }
}

/// A span that is this number of bytes further back.
pub(super) const fn shifted(span: &Span, bytes: usize) -> Span {
    span.start + bytes..span.end + bytes
}

/// The items of a list, each with its number in the list of its own file.
pub(super) fn numbered<'n>(items: &'n [Node], source: &Source) -> impl Iterator<Item = (usize, &'n Node)> {
    let (mut file, mut next) = (0, 0);
    items.iter().map(move |item| {
        let of_item = source.file_at(item.span.start);
        if of_item != file {
            (file, next) = (of_item, 0);
        }
        next += 1;
        (next - 1, item)
    })
}
