//! Reports keys that no schema reads, with the most similar known key.

use std::collections::BTreeSet;

use super::node::{Entry, Kind, Node, numbered};
use super::problem::{Problem, ProblemList};
use super::source::Source;
use super::suggest::nearest;

/// The keys that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownKeys {
    /// All of them. Keys of list items appear once: `agents[].id`.
    pub(super) keys: BTreeSet<String>,
    /// The short forms, which are accepted but not recommended.
    pub(super) short: BTreeSet<String>,
    /// Keys of the Go programs without an effect. They are accepted, and never suggested.
    pub(super) retired: BTreeSet<String>,
}

/// Reports all unknown keys in a file.
pub(super) fn unknown(root: &Node, source: &Source, known: &KnownKeys, problems: &ProblemList) {
    Search { source, known, problems }.section(root, "", "");
}

struct Search<'a> {
    source: &'a Source,
    known: &'a KnownKeys,
    problems: &'a ProblemList,
}

impl Search<'_> {
    /// Reports all unknown keys in a section and its subsections. `prefix` is its path in messages,
    /// `agents[0].`, and `pattern` its path in the known keys, `agents[].`.
    fn section(&self, node: &Node, prefix: &str, pattern: &str) {
        match &node.kind {
            Kind::Map(entries) => entries.iter().for_each(|entry| self.entry(entry, prefix, pattern)),
            Kind::Scalar { .. } if node.is_empty() => {}
            Kind::List(_) | Kind::Scalar { .. } => {
                let name = prefix.trim_end_matches('.');
                let what = if matches!(node.kind, Kind::List(_)) { "a list" } else { "a single value" };
                let subject = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
                let remedy = format!("write its keys below it, indented: {}", self.names(pattern));
                self.problems.add(Problem::at(
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
            self.problems.add(Problem::at(&path, format!("`{path}` is not a key"), remedy, entry.key_span.clone()));
        };
        // In a file, `http.port` is one name with a dot, and no key has such a name.
        if entry.key.contains(['.', '[']) {
            return unknown();
        }
        let list = format!("{key}[].");
        if self.is_known_below(&list) {
            if let Kind::List(items) = &entry.value.kind {
                let items = numbered(items, self.source);
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

    /// The remedy for an unknown key.
    fn suggestion(&self, key: &str, pattern: &str) -> String {
        let keys = &self.known.keys;
        if let Some((section, name)) = key.rsplit_once('.').filter(|_| keys.contains(&format!("{pattern}{key}"))) {
            let section = section.replace('.', ":` and `");
            return format!("write `{name}:` on its own line, indented below `{section}:`");
        }
        if let Some(near) = nearest(key, self.children(pattern)) {
            return format!("did you mean `{near}`?");
        }
        // Right name, wrong indentation.
        let suffix = format!(".{key}");
        if let Some(elsewhere) = keys.iter().find(|path| path.ends_with(&suffix) && self.can_be_suggested(path)) {
            let section = elsewhere.trim_end_matches(&suffix);
            return format!(
                "did you mean `{elsewhere}`? Then indent it below `{}:`",
                section.rsplit('.').next().unwrap_or(section)
            );
        }
        format!("remove it; known here: {}", self.names(pattern))
    }

    /// Whether a path is one that new files may have.
    fn can_be_suggested(&self, path: &str) -> bool {
        let legacy = |start: &str| self.known.retired.contains(start);
        !path.contains('[') && !legacy(path) && !path.match_indices('.').any(|(end, _)| legacy(&path[..end]))
    }

    /// The recommended names in a section, for messages.
    fn names(&self, pattern: &str) -> String {
        let recommended = |name: &&str| !self.known.short.contains(&format!("{pattern}{name}"));
        let names = self.children(pattern).into_iter().filter(recommended).map(|name| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// The names in a section.
    fn children(&self, pattern: &str) -> BTreeSet<&str> {
        let below = self.known.keys.iter().filter_map(|path| path.strip_prefix(pattern));
        let names = below.filter_map(|rest| rest.split(['.', '[']).next());
        names.filter(|name| !self.known.retired.contains(&format!("{pattern}{name}"))).collect()
    }
}
