//! Keys that older files and those of the Go programs have, and new ones should not have.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::Scope;
use crate::key::{Absent, Declaration, Declared, Key, Reload};
use crate::problem::Location;
use crate::reader::Sourced;
use crate::values::ValueType;

impl<'r> Scope<'r> {
    /// A key that is accepted in older files. It is not in the example, and its value is not recorded.
    pub(crate) fn legacy<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        self.declare(key, || Absent::Legacy);
        let path = format!("{}{}", self.pattern, self.below_item(key.name));
        self.reader.known.borrow_mut().short.insert(path);
        self.find(key)
    }

    /// A key of the Go programs that has no effect here. A file that sets it gets a warning, with `instead`, a sentence
    /// on what to do.
    pub(crate) fn retired(&self, name: &'static str, instead: &'static str) {
        self.retire(name, json!({}), instead);
        let path = self.path(name);
        self.known(&self.below_item(name));
        // A sentence in the documents, and a part of one in a message.
        let mut remedy = instead.trim_end_matches('.').to_owned();
        if let Some(first) = remedy.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        for (_, subject, _, location) in self.candidates(&path, &self.below_item(name), false) {
            let location = location.map_or(Location::OutsideFile, |(key_span, _)| Location::File(key_span));
            self.reader.warn(&path, format!("{subject} has no effect"), remedy.clone(), location);
        }
    }

    /// A section of the Go programs that new files should not have, with its name in the file.
    pub(crate) fn legacy_section(&self, name: &'static str, doc: &'static str) -> Option<(Self, Location)> {
        self.retire(name, json!({ "type": ["object", "null"] }), doc);
        let Some((key_span, node)) = self.node.find(name).filter(|(_, node)| !node.is_empty()) else {
            self.known(name);
            return None;
        };
        let (item, pattern) = (format!("{}{name}.", self.item), format!("{}{name}.", self.pattern));
        let (section, settings) = (String::new(), Rc::default());
        let scope = Self { reader: self.reader, node, item, pattern, section, defaults: None, settings };
        Some((scope, Location::File(key_span.clone())))
    }

    fn retire(&self, name: &'static str, schema: Json, doc: &'static str) {
        let path = format!("{}{}{name}", self.pattern, self.section);
        if let Some(declarations) = &self.reader.declarations {
            let path = path.clone();
            let (description, absent, reload) = (String::new(), Absent::Legacy, Reload::Live);
            let declared = Declared { path, short: None, absent, description, schema, is_text: false, reload, doc };
            declarations.borrow_mut().push(Declaration::Key(declared));
        }
        self.reader.known.borrow_mut().retired.insert(path);
    }
}
