//! The tree that a file is read into: every value knows where it stands.

use super::source::Span;

/// A value and where it stands.
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

/// One line of a section.
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

    /// Nothing is written there: a section with all its settings commented out is no problem.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if text.is_empty())
    }

    /// The value under a dotted key, and where the last part of the key stands.
    pub(super) fn find(&self, key: &str) -> Option<(&Span, &Self)> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let Kind::Map(entries) = &self.kind else { return None };
        let entry = entries.iter().find(|entry| entry.key == first)?;
        match rest {
            None => Some((&entry.key_span, &entry.value)),
            Some(rest) => entry.value.find(rest),
        }
    }

    /// How many values it holds, itself and the keys included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| 1 + entry.value.size()).sum(),
        }
    }
}
