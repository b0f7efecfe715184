//! Included files: each has further agents, and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::glob;
use super::key::Reload::Live;
use super::key::{Key, key};
use super::node::{Entry, Kind, Node};
use super::problem::{Location, Problem};
use super::raw::{Raw, ReadResult, invalid, quote};
use super::scope::Scope;
use super::source::{Source, Span};
use super::values::{TextList, ValueType};
use super::yaml::{self, Bounds};
use ops_runtime::small_file;

/// The maximum number of files and patterns in the list.
const MAX_ENTRIES: usize = 64;

/// The maximum number of included files.
const MAX_FILES: usize = 1024;

const INCLUDE: Key<IncludeList> = key(
    "include",
    IncludeList,
    Live,
    "Files with further `agents`, and nothing else. `*` and `?` in a name stand for any characters and for one. A \
     relative path starts at the directory of this file. At most 1024 files, and 4096 KiB together with this one.",
);

/// Declares the key. The files were [merged](merge) before. Returns whether there are any entries.
pub(super) fn include(file: &Scope<'_>) -> bool {
    !file.value(&INCLUDE, Vec::new()).is_empty()
}

/// A list of files and patterns.
struct IncludeList;

impl ValueType for IncludeList {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<String>> {
        let entries = TextList.read(raw)?;
        if entries.len() > MAX_ENTRIES {
            return invalid(format!("has {} entries", entries.len()), format!("write at most {MAX_ENTRIES}"));
        }
        match entries.iter().position(|entry| entry.is_empty() || entry.contains('\0')) {
            Some(index) => {
                invalid(format!("has item {}, which is empty or contains a NUL byte", index + 1), "write a path")
            }
            None => Ok(entries),
        }
    }

    fn show(&self, value: &Vec<String>) -> Option<String> {
        TextList.show(value)
    }

    fn description(&self) -> String {
        "a list of paths".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "maxItems": MAX_ENTRIES, "items": { "type": "string", "minLength": 1 } })
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Included {
    /// The files, in order.
    pub(super) files: Vec<PathBuf>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Reads the files that the file at `main` includes, and appends their agents to its own. Blocks on the disk.
pub(super) fn merge(source: &mut Source, root: &mut Node, main: &Path, bounds: Bounds) -> Included {
    let Some((key_span, Node { kind: Kind::List(entries), .. })) = root.find("include") else {
        return Included::default();
    };
    let (key_span, entries) = (key_span.clone(), entries.clone());
    let left = Bounds { values: bounds.values.saturating_sub(root.size()), ..bounds };
    let seen = main.canonicalize().into_iter().collect();
    let mut merge = Merge { source, bounds: left, seen, agents: Vec::new(), included: Included::default() };
    let directory = main.parent().unwrap_or_else(|| Path::new(""));
    for (index, entry) in entries.iter().enumerate().take(MAX_ENTRIES) {
        if let Some(text) = Raw::Node(entry).text().filter(|text| !text.is_empty() && !text.contains('\0')) {
            merge.entry(&Place { key: format!("include[{index}]"), span: entry.span.clone() }, directory, text);
        }
    }
    let Merge { agents, included, .. } = merge;
    if !entries.is_empty() {
        append_agents(root, key_span, agents);
    }
    included
}

/// Appends agents to the list of the file itself.
fn append_agents(root: &mut Node, key_span: Span, mut agents: Vec<Node>) {
    let Kind::Map(keys) = &mut root.kind else { return };
    match keys.iter_mut().find(|entry| entry.key == "agents") {
        Some(Entry { value: Node { kind: Kind::List(own), .. }, .. }) => own.append(&mut agents),
        Some(Entry { value, .. }) if value.is_null() => value.kind = Kind::List(agents),
        // The schema reports what this is instead of a list.
        Some(_) => {}
        None => {
            let value = Node { span: key_span.clone(), kind: Kind::List(agents) };
            keys.push(Entry { key: "agents".to_owned(), key_span, value });
        }
    }
}

/// An entry of the list.
struct Place {
    key: String,
    span: Span,
}

impl Place {
    fn problem(&self, fact: String, remedy: &str) -> Problem {
        Problem::at(&self.key, format!("`{}` {fact}", self.key), remedy.to_owned(), self.span.clone())
    }
}

struct Merge<'s> {
    source: &'s mut Source,
    /// What is left of the limits.
    bounds: Bounds,
    /// The files that were read. A file counts once.
    seen: BTreeSet<PathBuf>,
    agents: Vec<Node>,
    included: Included,
}

impl Merge<'_> {
    fn entry(&mut self, place: &Place, directory: &Path, text: &str) {
        if !glob::is_pattern(text) {
            return self.file(place, &directory.join(text));
        }
        match glob::expand(directory, Path::new(text)) {
            Ok(files) if files.is_empty() => {
                let fact = format!("is {}, which no file matches", quote(text));
                self.included.warnings.push(place.problem(fact, "correct the pattern, or remove it"));
            }
            Ok(files) => files.iter().for_each(|file| self.file(place, file)),
            Err(error) => {
                let fact = format!("is {}, whose directories cannot be read: {error}", quote(text));
                self.included.problems.push(place.problem(fact, "check that this user may read them"));
            }
        }
    }

    fn file(&mut self, place: &Place, path: &Path) {
        if !self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned())) {
            return;
        }
        if self.included.files.len() >= MAX_FILES {
            // Once is enough.
            if self.included.files.len() == MAX_FILES && self.included.problems.len() < MAX_FILES {
                let fact = format!("includes more than {MAX_FILES} files");
                self.included.problems.push(place.problem(fact, "put several agents into one file"));
            }
            return;
        }
        let name = path.display().to_string();
        let file = match self.read(path, &name) {
            Ok(file) => file,
            Err((fact, remedy)) => return self.included.problems.push(place.problem(fact, &remedy)),
        };
        self.included.files.push(path.to_owned());
        let (node, mut problems) = yaml::read(&file, self.bounds);
        let start = self.source.append(&file);
        problems.iter_mut().for_each(|problem| problem.shift(start));
        self.included.problems.append(&mut problems);
        if let Some(mut node) = node {
            self.bounds.values = self.bounds.values.saturating_sub(node.size());
            node.shift(start);
            self.take_agents(node, start);
        }
    }

    /// The text of a file, or what is wrong with it and what to do.
    fn read(&self, path: &Path, name: &str) -> Result<Source, (String, String)> {
        let left = self.bounds.bytes().saturating_sub(self.source.text.len());
        let unreadable = |error: io::Error| {
            let remedy = if error.kind() == io::ErrorKind::NotFound {
                "create it, or remove it from `include`"
            } else {
                "check the disk, and that this user may read the file"
            };
            (format!("names {}, which cannot be read: {error}", quote(name)), remedy.to_owned())
        };
        let bytes = small_file::read(path, left).map_err(unreadable)?;
        let Some(bytes) = bytes else {
            let remedy = "name files, or write a pattern such as `agents.d/*.yaml`".to_owned();
            return Err((format!("names {}, which is not a regular file", quote(name)), remedy));
        };
        if bytes.len() > left {
            let remedy = "check that these are configuration files".to_owned();
            let kib = self.bounds.kib;
            return Err((format!("names {}, with which there are more than {kib} KiB", quote(name)), remedy));
        }
        yaml::decode(name, &bytes, self.bounds).map_err(|refused| {
            let (source, problem) = *refused;
            let at = if let Location::File(span) = &problem.location {
                format!(" on line {}", source.line(span.start))
            } else {
                String::new()
            };
            (format!("names {}, in which{at} {}", quote(name), problem.fact), problem.remedy)
        })
    }

    /// Takes the agents of a file that begins at `start`.
    fn take_agents(&mut self, node: Node, start: usize) {
        let problems = &mut self.included.problems;
        let at = start..start;
        let entries = match node.kind {
            Kind::Map(entries) => entries,
            Kind::List(_) => {
                let remedy = "write `agents:` before it".to_owned();
                return problems.push(Problem::at("", "an included file is a list".to_owned(), remedy, node.span));
            }
            Kind::Scalar { .. } => Vec::new(),
        };
        let mut has_agents = false;
        for Entry { key, key_span, value } in entries {
            if key != "agents" {
                let fact = format!("{} is not a key of an included file, which has `agents` alone", quote(&key));
                problems.push(Problem::at(
                    &key,
                    fact,
                    "move it to the file that includes this one".to_owned(),
                    key_span,
                ));
                continue;
            }
            has_agents = !value.is_null();
            match value.kind {
                Kind::List(mut agents) => self.agents.append(&mut agents),
                Kind::Map(_) | Kind::Scalar { .. } if has_agents => {
                    let remedy = "write `- ` before each item".to_owned();
                    problems.push(Problem::at("agents", "`agents` is not a list".to_owned(), remedy, value.span));
                }
                Kind::Map(_) | Kind::Scalar { .. } => {}
            }
        }
        if !has_agents {
            // A file that was cut must not stop its agents.
            let remedy = "check that the file is complete; write `agents: []` for none".to_owned();
            problems.push(Problem::at("agents", "`agents` is missing".to_owned(), remedy, at));
        }
    }
}
