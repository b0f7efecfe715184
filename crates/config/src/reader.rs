//! Reads settings out of a tree, the environment and the flags, and notes everything that is wrong on the way.
//!
//! A schema asks for its keys by name. Once it has asked for all, what nobody asked for is unknown.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::layers::{Environment, Overrides, variable};
use super::problem::{Place, Problem};
use super::source::{Source, Span};
use super::suggest::nearest;
use super::tls::GivenFile;
use super::values::{Fault, Raw, Read};
use super::yaml::{Kind, Node};
use ops_http::tls::Role;

/// Enough to be reported, and a bound on what a hostile file can make us note.
pub(super) const MOST_PROBLEMS: usize = 1000;

/// More agents than any host runs. Each costs a look-up for every key there is, so a file of nothing but `- x` has to be
/// refused before that.
const MOST_ITEMS: usize = 16 * 1024;

/// Who gave a value. The later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    File,
    Environment,
    Flag,
}

/// A value and who gave it.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) layer: Layer,
    pub(super) place: Place,
    /// How a message names what gave it.
    pub(super) subject: String,
}

/// Reads one file.
pub(super) struct Reader<'r> {
    pub(super) source: &'r Source,
    root: &'r Node,
    environment: &'r Environment,
    overrides: &'r Overrides,
    /// The keys that were asked for, those of a list's items once: `agents[].id`.
    asked: RefCell<BTreeSet<String>>,
    /// The keys for which a flag was found.
    flagged: RefCell<BTreeSet<String>>,
    /// Those that were asked for as the short form of another: understood, but not recommended.
    pub(super) short: RefCell<BTreeSet<String>>,
    pub(super) problems: RefCell<Vec<Problem>>,
    files: RefCell<Vec<GivenFile>>,
}

/// A part of the file: the whole, or one item of a list.
#[derive(Clone)]
pub(super) struct Scope<'r> {
    pub(super) reader: &'r Reader<'r>,
    node: &'r Node,
    /// What the keys in it begin with: nothing, or `agents[0].`.
    prefix: String,
    /// The same for all items of a list: nothing, or `agents[].`.
    pattern: String,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        source: &'r Source,
        root: &'r Node,
        environment: &'r Environment,
        overrides: &'r Overrides,
    ) -> Self {
        let (asked, flagged, short) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (problems, files) = (RefCell::default(), RefCell::default());
        Self { source, root, environment, overrides, asked, flagged, short, problems, files }
    }

    pub(super) fn scope(&'r self) -> Scope<'r> {
        Scope { reader: self, node: self.root, prefix: String::new(), pattern: String::new() }
    }

    pub(super) fn note(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST_PROBLEMS {
            problems.push(problem);
        }
    }

    /// Every key that was asked for, those of a list's items once.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Every file that TLS needs, each where it was named first.
    pub(super) fn take_files(&self) -> Vec<GivenFile> {
        self.files.take()
    }

    /// All that is wrong, what nobody asked for included.
    pub(super) fn finish(self) -> Vec<Problem> {
        let (asked, flagged) = (self.asked.take(), self.flagged.take());
        self.unknown_in(self.root, ("", ""), &asked);
        for given in self.overrides.0.iter().filter(|given| !flagged.contains(&given.key)) {
            let near = nearest(&given.key, asked.iter().map(String::as_str));
            let remedy = near.map_or_else(|| "leave it out".to_owned(), |near| format!("did you mean `{near}`?"));
            let fact = format!("`{}` sets `{}`, which is no setting", given.flag, given.key);
            self.note(Problem { key: Some(given.key.clone()), fact, remedy, place: Place::Elsewhere, other: None });
        }
        self.problems.take()
    }
}

pub(super) fn problem_at(key: &str, fact: String, remedy: String, span: Span) -> Problem {
    let key = Some(key.to_owned()).filter(|key| !key.is_empty());
    Problem { key, fact, remedy, place: Place::File(span), other: None }
}

impl<'r> Scope<'r> {
    /// A setting's value, if anyone gives one that is right.
    pub(super) fn get<T>(&self, key: &str, read: impl Fn(&Raw<'_>) -> Read<T>) -> Option<Given<T>> {
        self.either(&[key], read)
    }

    /// A setting that must be there.
    pub(super) fn required<T>(&self, key: &str, example: &str, read: impl Fn(&Raw<'_>) -> Read<T>) -> Option<Given<T>> {
        let before = self.reader.problems.borrow().len();
        let given = self.get(key, read);
        let is_section = matches!(self.node.kind, Kind::Map(_)) || is_empty(self.node);
        if given.is_none() && is_section && self.reader.problems.borrow().len() == before {
            let start = self.node.span.start;
            let path = format!("{}{key}", self.prefix);
            let remedy = format!("write `{key}: {example}`");
            self.reader.note(problem_at(&path, format!("`{path}` is missing"), remedy, start..start));
        }
        given
    }

    /// A setting that has several names. More than one of them in the file is a problem.
    pub(super) fn either<T>(&self, keys: &[impl AsRef<str>], read: impl Fn(&Raw<'_>) -> Read<T>) -> Option<Given<T>> {
        let mut best: Option<Given<T>> = None;
        let mut first: Option<(String, Span)> = None;
        let mut variables = Vec::new();
        for key in keys.iter().map(AsRef::as_ref) {
            let path = format!("{}{key}", self.prefix);
            let name = variable(&path);
            // A short form may differ from the long one by its dot alone: then they share the variable.
            let own = if variables.contains(&name) { None } else { Some(name.as_str()) };
            for (layer, subject, raw, place) in self.candidates(&path, key, own) {
                let place = match (layer, place) {
                    (Layer::File, Some((key_span, span))) => {
                        if let Some((other, other_span)) = &first {
                            self.conflict((other, other_span.clone()), (&path, key_span));
                            continue;
                        }
                        first = Some((path.clone(), key_span));
                        Place::File(span)
                    }
                    _ => Place::Elsewhere,
                };
                match read(&raw) {
                    Ok(value) if best.as_ref().is_none_or(|best| best.layer <= layer) => {
                        best = Some(Given { value, layer, place, subject });
                    }
                    Ok(_) => {}
                    Err(fault) => self.fault(&path, &subject, fault, place),
                }
            }
            if !variables.is_empty() {
                self.reader.short.borrow_mut().insert(format!("{}{key}", self.pattern));
            }
            variables.push(name);
            self.asked(key);
        }
        best
    }

    /// Remembers that TLS needs a file, or the system's, and what says so.
    pub(super) fn needs_file<T>(&self, role: Role, path: &Path, key: &str, given: &Given<T>) {
        let mut files = self.reader.files.borrow_mut();
        if !files.iter().any(|known| known.role == role && known.path == path) {
            let (key, subject, place) = (format!("{}{key}", self.prefix), given.subject.clone(), given.place.clone());
            files.push(GivenFile { role, path: path.to_owned(), key, subject, place });
        }
    }

    /// Each item of a list of sections. None, and a problem, if there are too many.
    pub(super) fn items(&self, key: &str) -> Vec<Scope<'r>> {
        let path = format!("{}{key}", self.prefix);
        self.asked(key);
        let Some((_, node)) = find(self.node, key) else { return Vec::new() };
        let Kind::List(items) = &node.kind else {
            if !is_empty(node) {
                let fact = format!("`{path}` is not a list");
                let remedy = "write `- ` before each of them".to_owned();
                self.reader.note(problem_at(&path, fact, remedy, node.span.clone()));
            }
            return Vec::new();
        };
        if items.len() > MOST_ITEMS {
            let fact = format!("`{path}` has {} items", items.len());
            self.reader.note(problem_at(
                &path,
                fact,
                format!("keep at most {MOST_ITEMS}"),
                node.span.start..node.span.start,
            ));
            return Vec::new();
        }
        let pattern = format!("{}{key}[].", self.pattern);
        let prefix = |index| format!("{path}[{index}].");
        let scope =
            |(index, node)| Scope { reader: self.reader, node, prefix: prefix(index), pattern: pattern.clone() };
        items.iter().enumerate().map(scope).collect()
    }

    fn asked(&self, key: &str) {
        self.reader.asked.borrow_mut().insert(format!("{}{key}", self.pattern));
    }

    /// Notes what only the sight of several values together can tell.
    pub(super) fn object<T>(&self, given: &Given<T>, key: &str, fault: Fault) {
        self.fault(&format!("{}{key}", self.prefix), &given.subject, fault, given.place.clone());
    }

    /// Notes that two settings exclude each other, of which the file gives both.
    pub(super) fn conflict(&self, (first, first_span): (&str, Span), (path, span): (&str, Span)) {
        let source = self.reader.source;
        let (first, first_span, path, span) = if first_span.start <= span.start {
            (first, first_span, path, span)
        } else {
            (path, span, first, first_span)
        };
        let lines = (source.line(span.start), source.line(first_span.start));
        self.reader.note(Problem {
            key: Some(path.to_owned()),
            fact: format!("`{path}` on line {} and `{first}` on line {} set the same thing", lines.0, lines.1),
            remedy: "keep one of them".to_owned(),
            place: Place::File(span),
            other: Some((first_span, "first here")),
        });
    }

    /// Notes that a value which has to be unlike all others was given before.
    pub(super) fn repeated(&self, given: &Given<String>, key: &str, first: &Place) {
        let path = format!("{}{key}", self.prefix);
        let source = self.reader.source;
        let (line, other) = match first {
            Place::File(span) => (format!(" on line {}", source.line(span.start)), Some((span.clone(), "first here"))),
            Place::WholeFile | Place::Elsewhere => (String::new(), None),
        };
        self.reader.note(Problem {
            fact: format!("`{path}` is `{}`, as another one is{line}", given.value),
            key: Some(path),
            remedy: "give each its own".to_owned(),
            place: given.place.clone(),
            other,
        });
    }

    fn fault(&self, path: &str, subject: &str, fault: Fault, place: Place) {
        let (key, fact) = (Some(path.to_owned()), format!("{subject} {}", fault.fact));
        self.reader.note(Problem { key, fact, remedy: fault.remedy, place, other: None });
    }

    /// All who give a value for a key, the strongest last.
    fn candidates(&self, path: &str, key: &str, variable: Option<&str>) -> Vec<Candidate<'r>> {
        let mut found = Vec::new();
        if let Some((entry, node)) = find(self.node, key) {
            found.push((Layer::File, format!("`{path}`"), Raw::Node(node), Some((entry.clone(), node.span.clone()))));
        }
        let reader = self.reader;
        let set = variable.and_then(|name| Some((name, reader.environment.settings.get(name)?)));
        if let Some((name, value)) = set {
            found.push((Layer::Environment, format!("the variable `{name}`"), Raw::Text(value), None));
        }
        for given in reader.overrides.0.iter().filter(|given| given.key == path) {
            reader.flagged.borrow_mut().insert(given.key.clone());
            found.push((Layer::Flag, format!("`{}`", given.flag), Raw::Text(&given.value), None));
        }
        found
    }
}

/// Who gives a value, how a message names that, the value, and in a file where its key and the value itself stand.
type Candidate<'r> = (Layer, String, Raw<'r>, Option<(Span, Span)>);

/// Nothing is written there: a section with all its settings commented out is no problem.
pub(super) fn is_empty(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, quoted: false } if text.is_empty())
}

/// The value under a dotted key, and where the last part of the key stands.
fn find<'n>(node: &'n Node, key: &str) -> Option<(&'n Span, &'n Node)> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let Kind::Map(entries) = &node.kind else { return None };
    let entry = entries.iter().find(|entry| entry.key == first)?;
    match rest {
        None => Some((&entry.key_span, &entry.value)),
        Some(rest) => find(&entry.value, rest),
    }
}
