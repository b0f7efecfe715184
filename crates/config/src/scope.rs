//! Reads settings out of a file's tree, the environment and the flags.
//!
//! A schema declares a key where it reads it. Reading also records the value for the reload and,
//! where documents are made, the declaration. So a key that has an effect is known, documented and
//! compared. Once all keys are read, any other key in the file is unknown.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use ops_http::tls::Role;

use super::key::{Absent, Declaration, Declared, Key, Reload};
use super::layers::variable;
use super::node::{Kind, Node};
use super::problem::{Place, Problem};
use super::raw::{Fault, Raw};
use super::reader::{Layer, NamedFile, Reader, Sourced};
use super::settings::Settings;
use super::source::Span;
use super::values::ValueType;

/// More agents than any host runs. Each costs a look-up for every key there is, so a file of
/// nothing but `- x` has to be refused before that.
const MOST_ITEMS: usize = 16 * 1024;

/// A part of the file: the whole, a section, or one item of a list.
#[derive(Clone)]
pub(super) struct Scope<'r> {
    pub(super) reader: &'r Reader<'r>,
    /// The whole file, or the item of a list.
    node: &'r Node,
    /// What leads to the node: nothing, or `agents[0].`.
    item: String,
    /// The same for all items of a list: nothing, or `agents[].`.
    pattern: String,
    /// What leads from the node to the section: nothing, or `heartbeat.tls.`.
    section: String,
    /// The section in which to look for what this one does not give.
    defaults: Option<Box<Scope<'r>>>,
    settings: Rc<RefCell<Settings>>,
}

impl<'r> Scope<'r> {
    /// The whole file.
    pub(super) fn whole(reader: &'r Reader<'r>) -> Self {
        let (item, pattern, section) = (String::new(), String::new(), String::new());
        Self { reader, node: reader.root, item, pattern, section, defaults: None, settings: Rc::default() }
    }

    /// A section below this one.
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

    /// This section, where what it does not give is looked for in `defaults`.
    pub(super) fn over(&self, defaults: &Self) -> Self {
        Self { defaults: Some(Box::new(defaults.clone())), ..self.clone() }
    }

    /// This section alone.
    pub(super) fn own(&self) -> Self {
        Self { defaults: None, ..self.clone() }
    }

    /// Whether this section itself gives a key.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.candidates(&self.path(name), &self.below_item(name), true).is_empty()
    }

    /// A key's path from the top, as a message names it.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{}{key}", self.item, self.section)
    }

    /// A key's path from the item of the list that it belongs to, or from the top.
    pub(super) fn below_item(&self, key: &str) -> String {
        format!("{}{key}", self.section)
    }

    /// What is in force here, key by key.
    pub(super) fn take_settings(&self) -> Settings {
        self.settings.take()
    }

    /// A setting's value: what is given, or the default.
    pub(super) fn value<T: ValueType>(&self, key: &Key<T>, default: T::Value) -> T::Value {
        self.sourced(key, default).value
    }

    /// The same, with what gave it.
    pub(super) fn sourced<T: ValueType>(&self, key: &Key<T>, default: T::Value) -> Sourced<T::Value> {
        let shown = key.kind.show(&default);
        self.declare(key, || Absent::Default(shown.clone().unwrap_or_default()));
        let given = self.find(key);
        let given = given.unwrap_or_else(|| Sourced {
            value: default,
            layer: Layer::Default,
            place: Place::Elsewhere,
            subject: "the default".to_owned(),
            inherited: false,
        });
        let value = key.kind.show(&given.value);
        if self.item.is_empty() || value != shown {
            self.record(key.name, value, key.reload);
        }
        given
    }

    /// The same, where the default depends on other values. `words` say how, and the documents show
    /// `example`.
    pub(super) fn computed<T: ValueType>(
        &self,
        key: &Key<T>,
        (words, example): (&'static str, &'static str),
        default: impl FnOnce() -> T::Value,
    ) -> T::Value {
        self.declare(key, || Absent::Computed(words, example));
        let value = self.find(key).map_or_else(default, |given| given.value);
        self.record(key.name, key.kind.show(&value), key.reload);
        value
    }

    /// A setting that need not be there and has no default. The documents show `example`.
    pub(super) fn optional<T: ValueType>(&self, key: &Key<T>, example: &'static str) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Nothing(example));
        let given = self.find(key);
        let value = given.as_ref().and_then(|given| key.kind.show(&given.value));
        if self.item.is_empty() || value.is_some() {
            self.record(key.name, value, key.reload);
        }
        given
    }

    /// A setting that must be there.
    pub(super) fn required<T: ValueType>(&self, key: &Key<T>, example: &'static str) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Required(example));
        let before = self.reader.problems.len();
        let given = self.find(key);
        let is_section = matches!(self.node.kind, Kind::Map(_)) || self.node.is_empty();
        if given.is_none() && is_section && self.reader.problems.len() == before {
            let start = self.node.span.start;
            let path = self.path(key.name);
            let remedy = format!("write `{}: {example}`", key.name);
            self.reader.problems.note(Problem::at(&path, format!("`{path}` is missing"), remedy, start..start));
        }
        self.record(key.name, given.as_ref().and_then(|given| key.kind.show(&given.value)), key.reload);
        given
    }

    /// A key that is accepted for the sake of older files. It is not in the example, and no value
    /// of it is recorded.
    pub(super) fn legacy<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Legacy);
        self.find(key)
    }

    /// Records the value that is in force, where that depends on other keys.
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
            words: key.kind.words(),
            schema: key.kind.schema(),
            is_text: key.kind.is_text(),
            reload: key.reload,
            doc: key.doc,
        }));
    }

    /// A setting's value under any of its names, if one that is right is given. Two names in the
    /// file are a problem.
    fn find<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        let mut best: Option<Sourced<T::Value>> = None;
        let mut first: Option<(String, Span)> = None;
        let long = format!("{}{}", self.section, key.name);
        // A short form may differ from the long one by its dot alone: then they share the variable.
        let short = key.short.map(|short| (short, variable(short) != variable(&long)));
        for (name, has_variable) in std::iter::once((long.as_str(), true)).chain(short) {
            let path = format!("{}{name}", self.item);
            for (layer, subject, raw, place) in self.candidates(&path, name, has_variable) {
                let place = match (layer, place) {
                    (Layer::File, Some((key_span, span))) => {
                        if let Some((other, other_span)) = &first {
                            self.reader.conflict((other, other_span.clone()), (&path, key_span));
                            continue;
                        }
                        first = Some((path.clone(), key_span));
                        Place::File(span)
                    }
                    _ => Place::Elsewhere,
                };
                match key.kind.read(&raw) {
                    Ok(value) if best.as_ref().is_none_or(|best| best.layer <= layer) => {
                        best = Some(Sourced { value, layer, place, subject, inherited: false });
                    }
                    Ok(_) => {}
                    Err(fault) => self.reader.fault(&path, &subject, fault, place),
                }
            }
            self.known(name);
        }
        if let Some(short) = key.short {
            self.reader.known.borrow_mut().short.insert(format!("{}{short}", self.pattern));
        }
        best.or_else(|| self.defaults.as_ref()?.inherited(key))
    }

    /// What this section gives for those that take their defaults from it. What is wrong with it
    /// was noted when it was read for itself.
    fn inherited<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        let (name, path) = (format!("{}{}", self.section, key.name), self.path(key.name));
        let right = |(layer, subject, raw, place): Candidate<'r>| {
            let value = key.kind.read(&raw).ok()?;
            let place = place.map_or(Place::Elsewhere, |(_, span)| Place::File(span));
            Some(Sourced { value, layer, place, subject, inherited: true })
        };
        self.candidates(&path, &name, true).into_iter().filter_map(right).next_back()
    }

    /// Remembers that TLS needs a file, or the system's, and what says so.
    pub(super) fn needs_file<T>(&self, role: Role, path: &Path, key: &str, given: &Sourced<T>) {
        let mut files = self.reader.files.borrow_mut();
        if !files.iter().any(|known| known.role == role && known.path == path) {
            let (key, subject, place) = (self.path(key), given.subject.clone(), given.place.clone());
            files.push(NamedFile { role, path: path.to_owned(), key, subject, place });
        }
    }

    /// Each item of a list of sections. None, and a problem, if there are too many.
    pub(super) fn items(&self, key: &str, doc: &'static str) -> Vec<Self> {
        let path = self.path(key);
        self.known(key);
        if let Some(declarations) = &self.reader.declarations {
            declarations.borrow_mut().push(Declaration::Section { path: format!("{}{key}[]", self.pattern), doc });
        }
        let Some((_, node)) = self.node.find(key) else { return Vec::new() };
        let Kind::List(items) = &node.kind else {
            if !node.is_empty() {
                let fact = format!("`{path}` is not a list");
                let remedy = "write `- ` before each of them".to_owned();
                self.reader.problems.note(Problem::at(&path, fact, remedy, node.span.clone()));
            }
            return Vec::new();
        };
        if items.len() > MOST_ITEMS {
            let (fact, start) = (format!("`{path}` has {} items", items.len()), node.span.start);
            let remedy = format!("keep at most {MOST_ITEMS}");
            self.reader.problems.note(Problem::at(&path, fact, remedy, start..start));
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
        items.iter().enumerate().map(scope).collect()
    }

    fn known(&self, name: &str) {
        self.reader.known.borrow_mut().keys.insert(format!("{}{name}", self.pattern));
    }

    /// Notes what only several values together can tell.
    pub(super) fn object<T>(&self, given: &Sourced<T>, key: &str, fault: Fault) {
        self.reader.fault(&self.path(key), &given.subject, fault, given.place.clone());
    }

    /// Notes that a value which has to be unlike all others was given before.
    pub(super) fn repeated(&self, given: &Sourced<String>, key: &str, first: &Place) {
        let path = self.path(key);
        let source = self.reader.source;
        let (line, other) = match first {
            Place::File(span) => (format!(" on line {}", source.line(span.start)), Some((span.clone(), "first here"))),
            Place::WholeFile | Place::Elsewhere => (String::new(), None),
        };
        self.reader.problems.note(Problem {
            fact: format!("`{path}` is `{}`, as another one is{line}", given.value),
            key: Some(path),
            remedy: "give each its own".to_owned(),
            place: given.place.clone(),
            other,
        });
    }

    /// Everything that gives a value for a key, the strongest last. `name` leads to it from the
    /// node, `path` from the top.
    fn candidates(&self, path: &str, name: &str, has_variable: bool) -> Vec<Candidate<'r>> {
        let mut found = Vec::new();
        if let Some((entry, node)) = self.node.find(name) {
            found.push((Layer::File, format!("`{path}`"), Raw::Node(node), Some((entry.clone(), node.span.clone()))));
        }
        let reader = self.reader;
        if has_variable && !reader.environment.settings.is_empty() {
            let name = variable(path);
            if let Some(value) = reader.environment.settings.get(&name) {
                found.push((Layer::Environment, format!("the variable `{name}`"), Raw::Text(value), None));
            }
        }
        for given in reader.overrides.0.iter().filter(|given| given.key == path) {
            reader.flagged.borrow_mut().insert(given.key.clone());
            found.push((Layer::Flag, format!("`{}`", given.flag), Raw::Text(&given.value), None));
        }
        found
    }
}

/// What gives a value, how a message names that, the value, and in a file where its key and the
/// value itself stand.
type Candidate<'r> = (Layer, String, Raw<'r>, Option<(Span, Span)>);
