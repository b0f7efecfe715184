//! Finds the value of a key in the sources: the file, the environment and the flags.

use super::Scope;
use crate::key::Key;
use crate::layers::variable;
use crate::problem::Location;
use crate::raw::Raw;
use crate::reader::{Layer, Sourced};
use crate::source::Span;
use crate::values::ValueType;

/// A source that sets a key: its kind, its name in messages, the value, and in a file the spans of
/// the key and of the value.
type Candidate<'r> = (Layer, String, Raw<'r>, Option<(Span, Span)>);

impl<'r> Scope<'r> {
    /// The valid value of a key, under its path or its short form. Both in one file are a problem.
    pub(super) fn find<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        let mut best: Option<Sourced<T::Value>> = None;
        let mut first: Option<(String, Span)> = None;
        let long = format!("{}{}", self.section, key.name);
        // If a short form differs from the path only by a dot, both have the same variable.
        let short = key.short.map(|short| (short, variable(short) != variable(&long)));
        for (name, has_variable) in std::iter::once((long.as_str(), true)).chain(short) {
            let path = format!("{}{name}", self.item);
            for (layer, subject, raw, location) in self.candidates(&path, name, has_variable) {
                let location = match (layer, location) {
                    (Layer::File, Some((key_span, span))) => {
                        if let Some((other, other_span)) = &first {
                            self.reader.conflict((other, other_span.clone()), (&path, key_span));
                            continue;
                        }
                        first = Some((path.clone(), key_span));
                        Location::File(span)
                    }
                    _ => Location::OutsideFile,
                };
                match key.kind.read(&raw) {
                    Ok(value) if best.as_ref().is_none_or(|best| best.layer <= layer) => {
                        best = Some(Sourced { value, layer, location, subject, inherited: false });
                    }
                    Ok(_) => {}
                    Err(error) => self.reader.report(&path, &subject, error, location),
                }
            }
            self.known(name);
        }
        if let Some(short) = key.short {
            self.reader.known.borrow_mut().short.insert(format!("{}{short}", self.pattern));
        }
        if let Some(best) = &best
            && let Some((fact, remedy)) = key.kind.remark(&best.value)
        {
            self.warn(best, key.name, &fact, remedy);
        }
        best.or_else(|| self.defaults.as_ref()?.inherited(key))
    }

    /// The value of a key in this section, as a default for another section. Its problems were
    /// reported when this section was read.
    pub(super) fn inherited<T: ValueType>(&self, key: &Key<T>) -> Option<Sourced<T::Value>> {
        let (name, path) = (format!("{}{}", self.section, key.name), self.path(key.name));
        let right = |(layer, subject, raw, location): Candidate<'r>| {
            let value = key.kind.read(&raw).ok()?;
            let location = location.map_or(Location::OutsideFile, |(_, span)| Location::File(span));
            Some(Sourced { value, layer, location, subject, inherited: true })
        };
        self.candidates(&path, &name, true).into_iter().filter_map(right).next_back()
    }

    /// The sources that set a key, in the order of their precedence. `name` is its path from the node,
    /// `path` its full path.
    pub(super) fn candidates(&self, path: &str, name: &str, has_variable: bool) -> Vec<Candidate<'r>> {
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
        // The items of an included file are numbered anew, so no flag names them.
        let is_own = reader.source.file_at(self.node.span.start) == 0;
        for given in reader.overrides.0.iter().filter(|given| is_own && given.key == path) {
            reader.flagged.borrow_mut().insert(given.key.clone());
            found.push((Layer::Flag, format!("`{}`", given.flag), Raw::Text(&given.value), None));
        }
        found
    }
}
