//! What a file gives: the reader holds the tree, the environment and the flags, and everything that
//! is found wrong with them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use ops_http::tls::Role;

use super::key::Declaration;
use super::layers::{Environment, Overrides};
use super::node::Node;
use super::problem::{Place, Problem, ProblemList};
use super::raw::Fault;
use super::source::{Source, Span};
use super::suggest::nearest;
use super::unknown::{Known, unknown};

/// What gave a value. The later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Default,
    File,
    Environment,
    Flag,
}

/// A value and what gave it.
#[derive(Debug, Clone)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) layer: Layer,
    pub(super) place: Place,
    /// How a message names what gave it.
    pub(super) subject: String,
    /// Whether it comes from the defaults for all items of a list.
    pub(super) inherited: bool,
}

impl<T> Sourced<T> {
    pub(super) fn is_given(&self) -> bool {
        self.layer > Layer::Default
    }

    /// Another value from the same source.
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Sourced<U> {
        let Self { value, layer, place, subject, inherited } = self;
        Sourced { value: map(value), layer, place, subject, inherited }
    }
}

impl<T> Sourced<Option<T>> {
    /// An empty value is one that is not given.
    pub(super) fn transpose(self) -> Option<Sourced<T>> {
        let Self { value, layer, place, subject, inherited } = self;
        Some(Sourced { value: value?, layer, place, subject, inherited })
    }
}

/// A file that TLS needs, and what names it.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) role: Role,
    pub(super) path: PathBuf,
    /// The key from the top, such as `http.tls.cert`.
    pub(super) key: String,
    /// How a message names what gave it.
    pub(super) subject: String,
    pub(super) place: Place,
}

/// Reads one file.
pub(super) struct Reader<'r> {
    pub(super) source: &'r Source,
    pub(super) root: &'r Node,
    pub(super) environment: &'r Environment,
    pub(super) overrides: &'r Overrides,
    pub(super) known: RefCell<Known>,
    /// The keys for which a flag was found.
    pub(super) flagged: RefCell<BTreeSet<String>>,
    pub(super) problems: ProblemList,
    pub(super) files: RefCell<Vec<NamedFile>>,
    /// The declarations, where documents are made of them.
    pub(super) declarations: Option<RefCell<Vec<Declaration>>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        source: &'r Source,
        root: &'r Node,
        environment: &'r Environment,
        overrides: &'r Overrides,
    ) -> Self {
        Self {
            source,
            root,
            environment,
            overrides,
            known: RefCell::default(),
            flagged: RefCell::default(),
            problems: ProblemList::default(),
            files: RefCell::default(),
            declarations: None,
        }
    }

    /// The same, to make documents of the declarations.
    pub(super) fn declaring(self) -> Self {
        Self { declarations: Some(RefCell::default()), ..self }
    }

    /// Every key that was read, those of a list's items once: `agents[].id`.
    pub(super) fn known_keys(&self) -> BTreeSet<String> {
        self.known.borrow().keys.clone()
    }

    /// Every file that TLS needs, each where it was named first.
    pub(super) fn take_files(&self) -> Vec<NamedFile> {
        self.files.take()
    }

    pub(super) fn take_declarations(&self) -> Vec<Declaration> {
        self.declarations.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Notes what is wrong with a value.
    pub(super) fn fault(&self, path: &str, subject: &str, fault: Fault, place: Place) {
        let (key, fact) = (Some(path.to_owned()), format!("{subject} {}", fault.fact));
        self.problems.note(Problem { key, fact, remedy: fault.remedy, place, other: None });
    }

    /// Notes that two settings exclude each other, of which the file gives both.
    pub(super) fn conflict(&self, (first, first_span): (&str, Span), (path, span): (&str, Span)) {
        let source = self.source;
        let (first, first_span, path, span) = if first_span.start <= span.start {
            (first, first_span, path, span)
        } else {
            (path, span, first, first_span)
        };
        let lines = (source.line(span.start), source.line(first_span.start));
        self.problems.note(Problem {
            key: Some(path.to_owned()),
            fact: format!("`{path}` on line {} and `{first}` on line {} set the same thing", lines.0, lines.1),
            remedy: "keep one of them".to_owned(),
            place: Place::File(span),
            other: Some((first_span, "first here")),
        });
    }

    /// All that is wrong, unknown keys included.
    pub(super) fn finish(self) -> Vec<Problem> {
        let (known, flagged) = (self.known.take(), self.flagged.take());
        unknown(self.root, &known, &self.problems);
        for given in self.overrides.0.iter().filter(|given| !flagged.contains(&given.key)) {
            let near = nearest(&given.key, known.keys.iter().map(String::as_str));
            let remedy = near.map_or_else(|| "leave it out".to_owned(), |near| format!("did you mean `{near}`?"));
            let fact = format!("`{}` sets `{}`, which is no setting", given.flag, given.key);
            let key = Some(given.key.clone());
            self.problems.note(Problem { key, fact, remedy, place: Place::Elsewhere, other: None });
        }
        self.problems.take()
    }
}
