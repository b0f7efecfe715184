//! Keys that nobody asked for: each is an error, with the name that was probably meant.

use std::collections::BTreeSet;

use super::reader::{MOST_PROBLEMS, Reader, is_empty, problem_at};
use super::suggest::nearest;
use super::yaml::{Entry, Kind, Node};

impl Reader<'_> {
    /// Notes all keys in a section, and below it, that nobody asked for. `prefix` is what its keys begin with, in a message
    /// and in `asked`: `agents[0].` and `agents[].`.
    pub(super) fn unknown_in(&self, node: &Node, prefix: (&str, &str), asked: &BTreeSet<String>) {
        match &node.kind {
            Kind::Map(entries) => entries.iter().for_each(|entry| self.unknown(entry, prefix, asked)),
            Kind::Scalar { .. } if is_empty(node) => {}
            Kind::List(_) | Kind::Scalar { .. } => {
                let name = prefix.0.trim_end_matches('.');
                let what = if matches!(node.kind, Kind::List(_)) { "a list" } else { "a single value" };
                let subject = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
                let remedy = format!("write its settings below it, indented: {}", self.names(prefix.1, asked));
                self.note(problem_at(name, format!("{subject} is {what}, not a section"), remedy, node.span.clone()));
            }
        }
    }

    fn unknown(&self, entry: &Entry, (prefix, pattern): (&str, &str), asked: &BTreeSet<String>) {
        if self.problems.borrow().len() >= MOST_PROBLEMS {
            return;
        }
        let (path, key) = (format!("{prefix}{}", entry.key), format!("{pattern}{}", entry.key));
        // In a file, `http.port` is a name with a dot in it: nobody asked for that.
        if entry.key.contains(['.', '[']) {
            let remedy = self.suggestion(&entry.key, pattern, asked);
            return self.note(problem_at(&path, format!("`{path}` is no setting"), remedy, entry.key_span.clone()));
        }
        let is_asked_below =
            |start: &String| asked.range(start.clone()..).next().is_some_and(|it| it.starts_with(start));
        let list = format!("{key}[].");
        if is_asked_below(&list) {
            if let Kind::List(items) = &entry.value.kind {
                let prefix = |index| format!("{path}[{index}].");
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.unknown_in(item, (&prefix(index), &list), asked));
            }
            return;
        }
        if asked.contains(&key) || entry.key.is_empty() {
            return;
        }
        let section = format!("{key}.");
        if is_asked_below(&section) {
            self.unknown_in(&entry.value, (&format!("{path}."), &section), asked);
            return;
        }
        let remedy = self.suggestion(&entry.key, pattern, asked);
        self.note(problem_at(&path, format!("`{path}` is no setting"), remedy, entry.key_span.clone()));
    }

    /// What to do about a key that nobody asked for.
    fn suggestion(&self, key: &str, prefix: &str, asked: &BTreeSet<String>) -> String {
        if let Some((section, name)) = key.rsplit_once('.').filter(|_| asked.contains(&format!("{prefix}{key}"))) {
            let section = section.replace('.', ":` and `");
            return format!("write `{name}:` on a line of its own, indented below `{section}:`");
        }
        let children = children(prefix, asked);
        if let Some(near) = nearest(key, children.iter().copied()) {
            return format!("did you mean `{near}`?");
        }
        // Right name, wrong indentation.
        let suffix = format!(".{key}");
        if let Some(elsewhere) = asked.iter().find(|path| path.ends_with(&suffix) && !path.contains('[')) {
            let section = elsewhere.trim_end_matches(&suffix);
            return format!(
                "did you mean `{elsewhere}`? Then indent it below `{}:`",
                section.rsplit('.').next().unwrap_or(section)
            );
        }
        format!("remove it; known here: {}", self.names(prefix, asked))
    }

    /// The names that may stand under a prefix, for a message.
    fn names(&self, prefix: &str, asked: &BTreeSet<String>) -> String {
        let short = self.short.borrow();
        let names = children(prefix, asked).into_iter().filter(|name| !short.contains(&format!("{prefix}{name}")));
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// The names that stand directly under a prefix.
fn children<'a>(prefix: &str, asked: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let below = asked.iter().filter_map(|path| path.strip_prefix(prefix));
    below.filter_map(|rest| rest.split(['.', '[']).next()).collect()
}
