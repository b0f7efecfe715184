//! Builds a tree from the events of a YAML parser, within limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::node::{Entry, Kind, Node};
use super::problem::{Location, Problem, ProblemList};
use super::source::{Source, Span};
use super::syntax::{fatal, syntax};

/// Configurations use five levels.
const MAX_DEPTH: usize = 16;
/// Limits the search for duplicate keys, which takes quadratic time.
const MAX_KEYS: usize = 256;

/// Builds the tree.
pub(super) struct Builder<'s> {
    source: &'s Source,
    /// The start of each character, in bytes. The parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// The maximum number of nodes, with aliases expanded.
    max_nodes: usize,
    documents: usize,
    pub(super) root: Option<Node>,
    pub(super) problems: ProblemList,
}

/// An incomplete list or section.
struct Open {
    node: Node,
    anchor: usize,
    /// In a section, the key of the next value.
    key: Option<(String, Span)>,
}

impl<'s> Builder<'s> {
    pub(super) fn new(source: &'s Source, max_nodes: usize) -> Self {
        let ends = [source.text.len()];
        let offsets = source.text.char_indices().map(|(at, _)| at).chain(ends).collect();
        let (open, anchors, problems) = (Vec::new(), HashMap::new(), ProblemList::default());
        Self { source, offsets, open, anchors, nodes: 0, max_nodes, documents: 0, root: None, problems }
    }

    pub(super) fn run(&mut self) -> Result<(), Box<Problem>> {
        let source = self.source;
        let mut parser = Parser::new_from_str(&source.text);
        while let Some(event) = parser.next_event() {
            let (event, span) =
                event.map_err(|error: ScanError| syntax(source, self.byte(error.marker()), error.info()))?;
            let span = self.trimmed(self.byte(&span.start)..self.byte(&span.end));
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => self.document(span)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_tag(tag.as_deref(), &span);
                    let quoted = style != ScalarStyle::Plain;
                    self.count(1, &span)?;
                    self.value(Node { span, kind: Kind::Scalar { text: text.into_owned(), quoted } }, anchor)?;
                }
                Event::Alias(id) => self.alias(id, span)?,
                Event::SequenceStart(anchor, tag) => {
                    self.begin(Kind::List(Vec::new()), anchor, tag.as_deref(), span)?
                }
                Event::MappingStart(anchor, tag) => self.begin(Kind::Map(Vec::new()), anchor, tag.as_deref(), span)?,
                Event::SequenceEnd | Event::MappingEnd => self.end(&span)?,
            }
        }
        Ok(())
    }

    fn document(&mut self, span: Span) -> Result<(), Box<Problem>> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        Err(fatal("a second document begins here", "keep one document in the file", span))
    }

    fn begin(&mut self, kind: Kind, anchor: usize, tag: Option<&Tag>, span: Span) -> Result<(), Box<Problem>> {
        self.refuse_tag(tag, &span);
        self.count(1, &span)?;
        if self.open.len() >= MAX_DEPTH {
            let fact = format!("this is nested more than {MAX_DEPTH} levels deep");
            return Err(fatal(&fact, "remove the levels below", span));
        }
        self.open.push(Open { node: Node { span, kind }, anchor, key: None });
        Ok(())
    }

    fn end(&mut self, span: &Span) -> Result<(), Box<Problem>> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        open.node.span.end = self.trimmed(open.node.span.start..span.end.max(open.node.span.start)).end;
        self.value(open.node, open.anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Box<Problem>> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(fatal("this alias is part of its own value", "write the value out", span));
        };
        let node = Node { span: span.clone(), kind: node.kind.clone() };
        self.count(node.size(), &span)?;
        self.value(node, 0)
    }

    /// Adds a complete value to the innermost list or section.
    fn value(&mut self, node: Node, anchor: usize) -> Result<(), Box<Problem>> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((_, span))) if entries.len() >= MAX_KEYS => {
                return Err(fatal(
                    &format!("this section has more than {MAX_KEYS} keys"),
                    "remove the keys that it does not need",
                    span,
                ));
            }
            (Kind::Map(entries), Some((key, key_span))) => {
                let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span.clone());
                match first {
                    // The missing name has been reported already.
                    _ if key.is_empty() => {}
                    None => entries.push(Entry { key, key_span, value: node }),
                    Some(first) => {
                        let key = self.prefix() + &key;
                        self.problems.add(duplicate_key(self.source, &key, first, key_span));
                    }
                }
            }
            (Kind::Map(_), None) => {
                let (key, span) = match node {
                    Node { kind: Kind::Scalar { text, .. }, span } => (text, span),
                    Node { span, .. } => (String::new(), span),
                };
                if key.is_empty() {
                    self.problems.add(*fatal("this key is not a name", "write a name before the `:`", span.clone()));
                }
                open.key = Some((key, span));
            }
            (Kind::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    /// The path of the innermost section.
    fn prefix(&self) -> String {
        let outer = self.open.iter().take(self.open.len().saturating_sub(1));
        let part = |open: &Open| match (&open.node.kind, &open.key) {
            (Kind::List(items), _) => format!("[{}].", items.len()),
            (_, Some((key, _))) => format!("{key}."),
            (_, None) => String::new(),
        };
        outer.map(part).collect::<String>().replace(".[", "[")
    }

    fn count(&mut self, more: usize, span: &Span) -> Result<(), Box<Problem>> {
        self.nodes += more;
        if self.nodes <= self.max_nodes {
            return Ok(());
        }
        let fact = format!("the file expands to more than {} values from here on", self.max_nodes);
        Err(fatal(&fact, "remove aliases, or values", span.clone()))
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: &Span) {
        if tag.is_some() {
            let remedy = "remove the tag; quote a value that is meant as text";
            self.problems.add(*fatal("this value has a tag", remedy, span.clone()));
        }
    }

    fn byte(&self, marker: &Marker) -> usize {
        self.offsets.get(marker.index()).copied().unwrap_or(self.source.text.len())
    }

    /// Removes trailing white space. The parser ends a list or section where the next token begins.
    fn trimmed(&self, span: Span) -> Span {
        let text = self.source.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end().len()
    }
}

fn duplicate_key(source: &Source, key: &str, first: Span, again: Span) -> Problem {
    let (first_line, line) = (source.line(first.start), source.line(again.start));
    Problem {
        key: Some(key.to_owned()),
        fact: format!("`{key}` is given twice, on lines {first_line} and {line}"),
        remedy: "keep one of them".to_owned(),
        location: Location::File(again),
        other: Some((first, "first here")),
    }
}
