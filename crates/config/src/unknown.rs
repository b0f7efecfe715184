//! Keys that no schema reads: each is an error, with the name that was probably meant.

use std::collections::BTreeSet;

use super::node::{Entry, Kind, Node};
use super::problem::{Problem, ProblemList};
use super::suggest::nearest;

/// The keys that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// All of them, those of a list's items once: `agents[].id`.
    pub(super) keys: BTreeSet<String>,
    /// Those that are another name of a key: understood, but not recommended.
    pub(super) short: BTreeSet<String>,
}

/// Notes all keys in a file that are not known.
pub(super) fn unknown(root: &Node, known: &Known, problems: &ProblemList) {
    Search { known, problems }.section(root, "", "");
}

struct Search<'a> {
    known: &'a Known,
    problems: &'a ProblemList,
}

impl Search<'_> {
    /// Notes all unknown keys in a section and below it. `prefix` is what leads to it in a message,
    /// `agents[0].`, and `pattern` what leads to it in the known keys, `agents[].`.
    fn section(&self, node: &Node, prefix: &str, pattern: &str) {
        match &node.kind {
            Kind::Map(entries) => entries.iter().for_each(|entry| self.entry(entry, prefix, pattern)),
            Kind::Scalar { .. } if node.is_empty() => {}
            Kind::List(_) | Kind::Scalar { .. } => {
                let name = prefix.trim_end_matches('.');
                let what = if matches!(node.kind, Kind::List(_)) { "a list" } else { "a single value" };
                let subject = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
                let remedy = format!("write its settings below it, indented: {}", self.names(pattern));
                self.problems.note(Problem::at(
                    name,
                    format!("{subject} is {what}, not a section"),
                    remedy,
                    node.span.clone(),
                ));
            }
        }
    }

    fn entry(&self, entry: &Entry, prefix: &str, pattern: &str) {
        if self.problems.is_full() {
            return;
        }
        let (path, key) = (format!("{prefix}{}", entry.key), format!("{pattern}{}", entry.key));
        let unknown = || {
            let remedy = self.suggestion(&entry.key, pattern);
            self.problems.note(Problem::at(&path, format!("`{path}` is no setting"), remedy, entry.key_span.clone()));
        };
        // In a file, `http.port` is a name with a dot in it, and no key has one.
        if entry.key.contains(['.', '[']) {
            return unknown();
        }
        let list = format!("{key}[].");
        if self.is_known_below(&list) {
            if let Kind::List(items) = &entry.value.kind {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.section(item, &format!("{path}[{index}]."), &list));
            }
            return;
        }
        if self.known.keys.contains(&key) || entry.key.is_empty() {
            return;
        }
        let section = format!("{key}.");
        if self.is_known_below(&section) {
            return self.section(&entry.value, &format!("{path}."), &section);
        }
        unknown();
    }

    fn is_known_below(&self, start: &str) -> bool {
        self.known.keys.range(start.to_owned()..).next().is_some_and(|key| key.starts_with(start))
    }

    /// What to do about an unknown key.
    fn suggestion(&self, key: &str, pattern: &str) -> String {
        let keys = &self.known.keys;
        if let Some((section, name)) = key.rsplit_once('.').filter(|_| keys.contains(&format!("{pattern}{key}"))) {
            let section = section.replace('.', ":` and `");
            return format!("write `{name}:` on a line of its own, indented below `{section}:`");
        }
        if let Some(near) = nearest(key, self.children(pattern)) {
            return format!("did you mean `{near}`?");
        }
        // Right name, wrong indentation.
        let suffix = format!(".{key}");
        if let Some(elsewhere) = keys.iter().find(|path| path.ends_with(&suffix) && !path.contains('[')) {
            let section = elsewhere.trim_end_matches(&suffix);
            return format!(
                "did you mean `{elsewhere}`? Then indent it below `{}:`",
                section.rsplit('.').next().unwrap_or(section)
            );
        }
        format!("remove it; known here: {}", self.names(pattern))
    }

    /// The names that may stand under a prefix, for a message.
    fn names(&self, pattern: &str) -> String {
        let recommended = |name: &&str| !self.known.short.contains(&format!("{pattern}{name}"));
        let names = self.children(pattern).into_iter().filter(recommended).map(|name| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// The names that stand directly under a prefix.
    fn children(&self, pattern: &str) -> BTreeSet<&str> {
        let below = self.known.keys.iter().filter_map(|path| path.strip_prefix(pattern));
        below.filter_map(|rest| rest.split(['.', '[']).next()).collect()
    }
}
