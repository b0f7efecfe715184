//! The sources of all values (the tree, the environment and the flags), and the problems found in
//! them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use ops_http::tls::Role;

use super::host_checks::UsedPath;
use super::key::Declaration;
use super::layers::{Environment, Overrides};
use super::node::Node;
use super::problem::{Location, Problem, ProblemList};
use super::raw::ValueError;
use super::source::{Source, Span};
use super::suggest::nearest;
use super::unknown::{KnownKeys, unknown};

/// The kind of source of a value. Later ones take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Default,
    File,
    Environment,
    Flag,
}

/// A value with its source.
#[derive(Debug, Clone)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) layer: Layer,
    pub(super) location: Location,
    /// The name of the source in messages.
    pub(super) subject: String,
    /// Whether it comes from the defaults for all items of a list.
    pub(super) inherited: bool,
}

impl<T> Sourced<T> {
    /// A default.
    pub(super) fn default_of(key: &str, value: T) -> Self {
        let (layer, location) = (Layer::Default, Location::OutsideFile);
        Self { value, layer, location, subject: format!("the default of `{key}`"), inherited: false }
    }

    pub(super) fn is_given(&self) -> bool {
        self.layer > Layer::Default
    }

    /// Another value from the same source.
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Sourced<U> {
        let Self { value, layer, location, subject, inherited } = self;
        Sourced { value: map(value), layer, location, subject, inherited }
    }
}

impl<T> Sourced<Option<T>> {
    /// An empty value counts as absent.
    pub(super) fn transpose(self) -> Option<Sourced<T>> {
        let Self { value, layer, location, subject, inherited } = self;
        Some(Sourced { value: value?, layer, location, subject, inherited })
    }
}

/// A file for TLS or with the token, and the key that names it.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) role: Role,
    pub(super) path: PathBuf,
    /// The full path of the key, such as `http.tls.cert`.
    pub(super) key: String,
    /// The name of the source in messages.
    pub(super) subject: String,
    pub(super) location: Location,
}

/// The sources and the problems of one file.
pub(super) struct Reader<'r> {
    pub(super) source: &'r Source,
    pub(super) root: &'r Node,
    pub(super) environment: &'r Environment,
    pub(super) overrides: &'r Overrides,
    pub(super) known: RefCell<KnownKeys>,
    /// The keys that were read and have a flag.
    pub(super) flagged: RefCell<BTreeSet<String>>,
    pub(super) problems: ProblemList,
    /// Oddities that are no errors.
    pub(super) warnings: ProblemList,
    pub(super) files: RefCell<Vec<NamedFile>>,
    pub(super) paths: RefCell<Vec<UsedPath>>,
    /// The declarations, if documents are generated.
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
            warnings: ProblemList::default(),
            files: RefCell::default(),
            paths: RefCell::default(),
            declarations: None,
        }
    }

    /// Collects the declarations too.
    pub(super) fn declaring(self) -> Self {
        Self { declarations: Some(RefCell::default()), ..self }
    }

    /// The keys that were read. Keys of list items appear once: `agents[].id`.
    pub(super) fn known_keys(&self) -> BTreeSet<String> {
        self.known.borrow().keys.clone()
    }

    /// The files for TLS and with the token, each with the first key that names it.
    pub(super) fn take_files(&self) -> Vec<NamedFile> {
        self.files.take()
    }

    /// The paths that are checked on this host.
    pub(super) fn take_paths(&self) -> Vec<UsedPath> {
        self.paths.take()
    }

    pub(super) fn take_declarations(&self) -> Vec<Declaration> {
        self.declarations.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Reports an invalid value.
    pub(super) fn report(&self, path: &str, subject: &str, error: ValueError, location: Location) {
        let (key, fact) = (Some(path.to_owned()), format!("{subject} {}", error.fact));
        self.problems.add(Problem { key, fact, remedy: error.remedy, location, other: None });
    }

    /// Warns about a valid value.
    pub(super) fn warn(&self, path: &str, fact: String, remedy: String, location: Location) {
        self.warnings.add(Problem { key: Some(path.to_owned()), fact, remedy, location, other: None });
    }

    /// Reports two keys in the file that exclude each other.
    pub(super) fn conflict(&self, (first, first_span): (&str, Span), (path, span): (&str, Span)) {
        let source = self.source;
        let (first, first_span, path, span) = if first_span.start <= span.start {
            (first, first_span, path, span)
        } else {
            (path, span, first, first_span)
        };
        let lines = (source.line(span.start), source.line(first_span.start));
        self.problems.add(Problem {
            key: Some(path.to_owned()),
            fact: format!("`{path}` on line {} and `{first}` on line {} set the same value", lines.0, lines.1),
            remedy: "keep one of them".to_owned(),
            location: Location::File(span),
            other: Some((first_span, "first here")),
        });
    }

    /// All problems, including unknown keys.
    pub(super) fn finish(self) -> Vec<Problem> {
        let (known, flagged) = (self.known.take(), self.flagged.take());
        unknown(self.root, self.source, &known, &self.problems);
        for given in self.overrides.0.iter().filter(|given| !flagged.contains(&given.key)) {
            let near = nearest(&given.key, known.keys.iter().map(String::as_str));
            let remedy = near.map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
            let fact = format!("`{}` names a key that does not exist", given.flag);
            let key = Some(given.key.clone());
            self.problems.add(Problem { key, fact, remedy, location: Location::OutsideFile, other: None });
        }
        self.problems.take()
    }
}
