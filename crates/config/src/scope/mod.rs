//! Reads values from the tree of a file, the environment and the flags.
//!
//! A schema declares a key where it reads it. Reading also records the value for the comparison at a
//! reload and, if documents are generated, the declaration. So every key that has an effect is
//! known, documented and compared. After all keys are read, any other key in the file is unknown.

mod legacy;
mod lookup;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use ops_http::tls::Role;

use super::host_checks::{PathUse, UsedPath};
use super::key::{Absent, Declaration, Declared, Key, Reload};
use super::node::{Kind, Node, numbered};
use super::problem::{Location, Problem};
use super::raw::ValueError;
use super::reader::{NamedFile, Reader, Sourced};
use super::settings::Settings;
use super::values::ValueType;

/// The maximum number of items in a list. Each item costs a look-up per key, so a hostile file with
/// more items is refused before that.
const MAX_ITEMS: usize = 16 * 1024;

/// A part of the file: the whole file, a section, or an item of a list.
#[derive(Clone)]
pub(super) struct Scope<'r> {
    pub(super) reader: &'r Reader<'r>,
    /// The root of the file, or an item of a list.
    node: &'r Node,
    /// The path of the node: empty, or `agents[0].`.
    item: String,
    /// The path without an index: empty, or `agents[].`.
    pattern: String,
    /// The path from the node to the section: empty, or `heartbeat.tls.`.
    section: String,
    /// The section with the defaults for keys that this one does not set.
    defaults: Option<Box<Scope<'r>>>,
    settings: Rc<RefCell<Settings>>,
}

impl<'r> Scope<'r> {
    /// The whole file.
    pub(super) fn whole(reader: &'r Reader<'r>) -> Self {
        let (item, pattern, section) = (String::new(), String::new(), String::new());
        Self { reader, node: reader.root, item, pattern, section, defaults: None, settings: Rc::default() }
    }

    /// A section in this one.
    pub(super) fn section(&self, name: &str, doc: &'static str) -> Self {
        let section = format!("{}{name}.", self.section);
        if let Some(declarations) = &self.reader.declarations {
            let path = format!("{}{}{name}", self.pattern, self.section);
            let mut declarations = declarations.borrow_mut();
            let is_known =
                declarations.iter().any(|it| matches!(it, Declaration::Section { path: known, .. } if *known == path));
            if !is_known {
                declarations.push(Declaration::Section { path, doc });
            }
        }
        let defaults = self.defaults.as_ref().map(|defaults| Box::new(defaults.section(name, doc)));
        Self { section, defaults, ..self.clone() }
    }

    /// This section with `defaults` for the keys that it does not set.
    pub(super) fn over(&self, defaults: &Self) -> Self {
        Self { defaults: Some(Box::new(defaults.clone())), ..self.clone() }
    }

    /// This section without defaults.
    pub(super) fn own(&self) -> Self {
        Self { defaults: None, ..self.clone() }
    }

    /// Whether this section itself sets a key.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.candidates(&self.path(name), &self.below_item(name), true).is_empty()
    }

    /// Reports that the file does not set a key, or sets it to null.
    pub(super) fn require_set(&self, name: &str, remedy: &str) {
        if self.node.find(name).is_some_and(|(_, node)| !node.is_null()) {
            return;
        }
        self.report_missing(name, remedy);
    }

    /// Reports a key without which the rest has no meaning.
    pub(super) fn report_missing(&self, name: &str, remedy: &str) {
        let (path, start) = (self.path(name), self.node.span.start);
        self.reader.problems.add(Problem::at(&path, format!("`{path}` is missing"), remedy.to_owned(), start..start));
    }

    /// The full path of a key, for messages.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{}{key}", self.item, self.section)
    }

    /// The path of a key within its list item, or the full path.
    pub(super) fn below_item(&self, key: &str) -> String {
        format!("{}{key}", self.section)
    }

    /// The values in force, by key.
    pub(super) fn take_settings(&self) -> Settings {
        self.settings.take()
    }

    /// The value of a key, or its default.
    pub(super) fn value<T: ValueType>(&self, key: &Key<T>, default: T::Value) -> T::Value {
        self.sourced(key, default).value
    }

    /// The value of a key, or its default, with its source.
    pub(super) fn sourced<T: ValueType>(&self, key: &Key<T>, default: T::Value) -> Sourced<T::Value> {
        let shown = key.kind.show(&default);
        self.declare(key, || Absent::Default(shown.clone().unwrap_or_default()));
        let given = self.find(key);
        let given = given.unwrap_or_else(|| Sourced::default_of(key.name, default));
        let value = key.kind.show(&given.value);
        if self.item.is_empty() || value != shown {
            self.record(key.name, value, key.reload);
        }
        given
    }

    /// The value of a key whose default depends on other keys. The documents show the description and
    /// the example.
    pub(super) fn computed<T: ValueType>(
        &self,
        key: &Key<T>,
        (description, example): (&'static str, &'static str),
        default: impl FnOnce() -> T::Value,
    ) -> T::Value {
        self.declare(key, || Absent::Computed(description, example));
        let value = self.find(key).map_or_else(default, |given| given.value);
        self.record(key.name, key.kind.show(&value), key.reload);
        value
    }

    /// The value of an optional key without a default. The documents show `example`.
    pub(super) fn optional<T: ValueType>(&self, key: &Key<T>, example: &'static str) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Nothing(example));
        let given = self.find(key);
        let value = given.as_ref().and_then(|given| key.kind.show(&given.value));
        if self.item.is_empty() || value.is_some() {
            self.record(key.name, value, key.reload);
        }
        given
    }

    /// The value of a required key.
    pub(super) fn required<T: ValueType>(&self, key: &Key<T>, example: &'static str) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Required(example));
        let before = self.reader.problems.len();
        let given = self.find(key);
        let is_section = matches!(self.node.kind, Kind::Map(_)) || self.node.is_empty();
        if given.is_none() && is_section && self.reader.problems.len() == before {
            let start = self.node.span.start;
            let path = self.path(key.name);
            let remedy = format!("write `{}: {example}`", key.name);
            self.reader.problems.add(Problem::at(&path, format!("`{path}` is missing"), remedy, start..start));
        }
        self.record(key.name, given.as_ref().and_then(|given| key.kind.show(&given.value)), key.reload);
        given
    }

    /// The valid value of a key that was already read, or the one of the defaults.
    pub(super) fn given<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        self.inherited(key).or_else(|| self.defaults.as_ref()?.inherited(key))
    }

    /// Warns about a valid value.
    pub(super) fn warn<T>(&self, given: &Sourced<T>, key: &str, fact: &str, remedy: String) {
        self.reader.warn(&self.path(key), format!("{} {fact}", given.subject), remedy, given.location.clone());
    }

    /// Records a value that depends on other keys.
    pub(super) fn effective(&self, name: &str, value: Option<String>) {
        self.record(name, value, Reload::Live);
    }

    fn record(&self, name: &str, value: Option<String>, reload: Reload) {
        self.settings.borrow_mut().record(&format!("{}{name}", self.section), value, reload);
    }

    fn declare<T: ValueType>(&self, key: &Key<T>, absent: impl FnOnce() -> Absent) {
        let Some(declarations) = &self.reader.declarations else { return };
        declarations.borrow_mut().push(Declaration::Key(Declared {
            path: format!("{}{}{}", self.pattern, self.section, key.name),
            short: key.short,
            absent: absent(),
            description: key.kind.description(),
            schema: key.kind.schema(),
            is_text: key.kind.is_text(),
            reload: key.reload,
            doc: key.doc,
        }));
    }

    /// Records that a key requires a file for TLS, or the system's CAs.
    pub(super) fn needs_file<T>(&self, role: Role, path: &Path, key: &str, given: &Sourced<T>) {
        let mut files = self.reader.files.borrow_mut();
        if !files.iter().any(|known| known.role == role && known.path == path) {
            let (key, subject, location) = (self.path(key), given.subject.clone(), given.location.clone());
            files.push(NamedFile { role, path: path.to_owned(), key, subject, location });
        }
    }

    /// Records a path that is checked on this host.
    pub(super) fn uses_path<T>(&self, path: PathUse, key: &str, given: &Sourced<T>) {
        let (key, subject, location) = (self.path(key), given.subject.clone(), given.location.clone());
        self.reader.paths.borrow_mut().push(UsedPath { path, key, subject, location });
    }

    /// The items of a list of sections. Too many are a problem, and then there is none.
    pub(super) fn items(&self, key: &str, doc: &'static str) -> Vec<Self> {
        let path = self.path(key);
        self.known(key);
        if let Some(declarations) = &self.reader.declarations {
            declarations.borrow_mut().push(Declaration::Section { path: format!("{}{key}[]", self.pattern), doc });
        }
        let Some((_, node)) = self.node.find(key) else { return Vec::new() };
        let Kind::List(items) = &node.kind else {
            if !node.is_null() {
                let fact = format!("`{path}` is not a list");
                let remedy = "write `- ` before each item".to_owned();
                self.reader.problems.add(Problem::at(&path, fact, remedy, node.span.clone()));
            }
            return Vec::new();
        };
        if items.len() > MAX_ITEMS {
            let (fact, start) = (format!("`{path}` has {} items", items.len()), node.span.start);
            let remedy = format!("keep at most {MAX_ITEMS}");
            self.reader.problems.add(Problem::at(&path, fact, remedy, start..start));
            return Vec::new();
        }
        let pattern = format!("{}{key}[].", self.pattern);
        let scope = |(index, node)| Scope {
            reader: self.reader,
            node,
            item: format!("{path}[{index}]."),
            pattern: pattern.clone(),
            section: String::new(),
            defaults: None,
            settings: Rc::default(),
        };
        numbered(items, self.reader.source).map(scope).collect()
    }

    fn known(&self, name: &str) {
        self.reader.known.borrow_mut().keys.insert(format!("{}{name}", self.pattern));
    }

    /// Reports a valid value that contradicts another one.
    pub(super) fn report<T>(&self, given: &Sourced<T>, key: &str, error: ValueError) {
        self.reader.report(&self.path(key), &given.subject, error, given.location.clone());
    }

    /// Reports a value that must be unique and is not.
    pub(super) fn repeated(&self, given: &Sourced<String>, key: &str, first: &Location) {
        let path = self.path(key);
        let source = self.reader.source;
        let (line, other) = match first {
            Location::File(span) => {
                let from = if let Location::File(own) = &given.location { own.start } else { span.start };
                (format!(" on {}", source.place(span.start, from)), Some((span.clone(), "first here")))
            }
            Location::WholeFile | Location::OutsideFile => (String::new(), None),
        };
        self.reader.problems.add(Problem {
            fact: format!("`{path}` is `{}`, which is already in use{line}", given.value),
            key: Some(path),
            remedy: "use a different value for each".to_owned(),
            location: given.location.clone(),
            other,
        });
    }
}
