//! YAML, read on guard, into a tree that knows where everything stands.
//!
//! Two parsers share the work. `serde_yaml` is the one that decides: a file that it refuses is refused, and what a
//! scalar is (null, truth, number or text) is what it says. But it forgets where a value stood, takes the last of two
//! equal keys or stops at the first problem, and needs quadratic time for nested brackets. So `saphyr-parser` goes
//! first: its events carry their places, and they come one by one, so that too deep and too large end at once.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde::de::IgnoredAny;

use super::problem::{Place, Problem};
use super::source::{Source, Span};

/// A configuration is a small file.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Five levels are in use.
const MAX_DEPTH: usize = 16;
/// Room for hundreds of supervised agents, aliases written out.
const MAX_NODES: usize = 32 * 1024;

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

/// What a scalar is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(serde_yaml::Number),
    Text,
}

/// What a scalar is, in the words of `serde_yaml`.
pub(super) fn scalar(text: &str, quoted: bool) -> Scalar {
    use serde_yaml::Value;
    if quoted {
        return Scalar::Text;
    }
    match serde_yaml::from_str::<Value>(text) {
        Ok(Value::Null) => Scalar::Null,
        Ok(Value::Bool(truth)) => Scalar::Bool(truth),
        Ok(Value::Number(number)) => Scalar::Number(number),
        Ok(Value::String(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_)) | Err(_) => Scalar::Text,
    }
}

/// Bytes as text, if they can be a configuration at all: not too many, UTF-8, no byte order mark, no control characters.
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Source, Box<(Source, Problem)>> {
    let refuse = |text: &str, fact: String, remedy: &str, at: Option<usize>| {
        let place = at.map_or(Place::WholeFile, |at| Place::File(char_at(text, at)));
        let problem = Problem { key: None, fact, remedy: remedy.to_owned(), place, other: None };
        Err(Box::new((Source::new(name, text.to_owned()), problem)))
    };
    if bytes.len() > MAX_BYTES {
        return refuse("", "the file is larger than 64 KiB".to_owned(), "give a configuration, not another file", None);
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
pub(super) fn read(source: &Source) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder::new(source);
    let read = builder.run().and_then(|()| second_opinion(source));
    let mut problems = builder.problems;
    match read {
        Ok(()) => (Some(builder.root.unwrap_or_else(|| nothing(0..0))), problems),
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

fn syntax(source: &Source, at: usize, info: &str) -> Box<Problem> {
    // What comes up at the end of the text is shown where the text ends, not on the empty line behind it.
    let at = at.min(source.text.trim_end().len());
    let line = source.line_text(source.line(at));
    let indent = &line[..line.len() - line.trim_start().len()];
    if let Some(tab) = indent.find('\t') {
        let tab = source.line_start(source.line(at)) + tab;
        return fatal("a tab indents this line", "indent with spaces", tab..tab + 1);
    }
    let fact = format!("this is not YAML: {info}");
    let remedy = "check indentation and quotes here and in the line before; a value with `: ` or ` #` needs quotes";
    fatal(&fact, remedy, char_at(&source.text, at))
}

fn fatal(fact: &str, remedy: &str, span: Span) -> Box<Problem> {
    let place = Place::File(span);
    Box::new(Problem { key: None, fact: fact.to_owned(), remedy: remedy.to_owned(), place, other: None })
}

fn nothing(span: Span) -> Node {
    Node { span, kind: Kind::Scalar { text: String::new(), quoted: false } }
}

fn char_at(text: &str, at: usize) -> Span {
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    at..at + length
}

/// Makes the tree of the events.
struct Builder<'s> {
    source: &'s Source,
    /// Where each character begins: the parser counts those, not bytes.
    offsets: Vec<usize>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
    problems: Vec<Problem>,
}

/// A list or a section that is not complete.
struct Open {
    node: Node,
    anchor: usize,
    /// In a section: the key whose value comes next.
    key: Option<(String, Span)>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source) -> Self {
        let ends = [source.text.len()];
        let offsets = source.text.char_indices().map(|(at, _)| at).chain(ends).collect();
        let (open, anchors, problems) = (Vec::new(), HashMap::new(), Vec::new());
        Self { source, offsets, open, anchors, nodes: 0, documents: 0, root: None, problems }
    }

    fn run(&mut self) -> Result<(), Box<Problem>> {
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
                    self.value(Node { span, kind: Kind::Scalar { text: text.into_owned(), quoted } }, anchor);
                }
                Event::Alias(id) => self.alias(id, span)?,
                Event::SequenceStart(anchor, tag) => {
                    self.begin(Kind::List(Vec::new()), anchor, tag.as_deref(), span)?
                }
                Event::MappingStart(anchor, tag) => self.begin(Kind::Map(Vec::new()), anchor, tag.as_deref(), span)?,
                Event::SequenceEnd | Event::MappingEnd => self.end(&span),
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
            return Err(fatal(&fact, "no setting is: remove it", span));
        }
        self.open.push(Open { node: Node { span, kind }, anchor, key: None });
        Ok(())
    }

    fn end(&mut self, span: &Span) {
        if let Some(mut open) = self.open.pop() {
            open.node.span.end = self.trimmed(open.node.span.start..span.end.max(open.node.span.start)).end;
            self.value(open.node, open.anchor);
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Box<Problem>> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(fatal("this alias stands within what it stands for", "write the value out", span));
        };
        let node = Node { span: span.clone(), kind: node.kind.clone() };
        self.count(size(&node), &span)?;
        self.value(node, 0);
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let prefix = self.prefix();
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((key, key_span))) => {
                let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span.clone());
                match first {
                    None => entries.push(Entry { key, key_span, value: node }),
                    Some(_) if key.is_empty() => {}
                    Some(first) => self.problems.push(twice(self.source, &format!("{prefix}{key}"), first, key_span)),
                }
            }
            (Kind::Map(_), None) => {
                let (key, span) = match node {
                    Node { kind: Kind::Scalar { text, .. }, span } => (text, span),
                    Node { span, .. } => (String::new(), span),
                };
                if key.is_empty() {
                    self.problems.push(*fatal("a key is a name", "write a name before the `:`", span.clone()));
                }
                open.key = Some((key, span));
            }
            (Kind::Scalar { .. }, _) => {}
        }
    }

    /// What the keys of the innermost section begin with.
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
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let fact = format!("the file expands to more than {MAX_NODES} values from here on");
        Err(fatal(&fact, "remove aliases, or values", span.clone()))
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: &Span) {
        if tag.is_some() {
            let remedy = "remove the tag; quote a value that is meant as text";
            self.problems.push(*fatal("this value has a tag", remedy, span.clone()));
        }
    }

    fn byte(&self, marker: &Marker) -> usize {
        self.offsets.get(marker.index()).copied().unwrap_or(self.source.text.len())
    }

    /// A collection ends where the next thing begins: what is between is not its own.
    fn trimmed(&self, span: Span) -> Span {
        let text = self.source.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end().len()
    }
}

fn twice(source: &Source, key: &str, first: Span, again: Span) -> Problem {
    let (first_line, line) = (source.line(first.start), source.line(again.start));
    Problem {
        key: Some(key.to_owned()),
        fact: format!("`{key}` is given twice, on lines {first_line} and {line}"),
        remedy: "keep one of them".to_owned(),
        place: Place::File(again),
        other: Some((first, "first here")),
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
    }
}
