//! The declarations of a program's keys as a tree of sections.

use super::agent_file::AgentFiles;
use super::agent_schema;
use super::daemon_schema;
use super::key::{Declaration, Declared};
use super::layers::{Environment, Overrides, variable};
use super::reader::Reader;
use super::scope::Scope;
use super::yaml;

/// A program that has a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `agent`.
    Agent,
    /// `daemon`.
    Daemon,
}

/// A section and its content, in the order of the declarations.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The full path. The path of a list ends in `[]`.
    pub(super) path: String,
    pub(super) doc: &'static str,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) enum Part {
    Key(Declared),
    Section(Section),
}

impl Section {
    pub(super) fn name(&self) -> &str {
        last(&self.path).trim_end_matches("[]")
    }

    pub(super) fn is_list(&self) -> bool {
        self.path.ends_with("[]")
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = &Self> {
        self.parts.iter().filter_map(|part| match part {
            Part::Section(section) => Some(section),
            Part::Key(_) => None,
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Declared> {
        self.parts.iter().filter_map(|part| match part {
            Part::Key(key) => Some(key),
            Part::Section(_) => None,
        })
    }

    /// The section with the defaults for a section in the items of a list, if there is one.
    pub(super) fn defaults_for(&self, section: &Self) -> Option<&Self> {
        let (list, name) = section.path.split_once("[].")?;
        let path = format!("{}_defaults.{name}", list.trim_end_matches('s'));
        self.find(&path)
    }

    fn find(&self, path: &str) -> Option<&Self> {
        self.sections().find_map(|section| if section.path == path { Some(section) } else { section.find(path) })
    }

    /// The section at a path below this one. It is created if it is missing.
    fn at(&mut self, path: &str) -> &mut Self {
        let mut section = self;
        for (end, _) in path.match_indices('.').chain([(path.len(), "")]) {
            let part = &path[..end];
            let is_it = |it: &Part| matches!(it, Part::Section(section) if section.path == part);
            let index = section.parts.iter().position(is_it).unwrap_or_else(|| {
                section.parts.push(Part::Section(Self { path: part.to_owned(), ..Self::default() }));
                section.parts.len() - 1
            });
            // `index` is the index of a section.
            let Part::Section(below) = &mut section.parts[index] else { unreachable!() };
            section = below;
        }
        section
    }
}

impl Declared {
    pub(super) fn name(&self) -> &str {
        last(&self.path)
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Reads a minimal file with a schema, and collects the declarations.
pub(super) fn declared(program: Program) -> Section {
    let text = match program {
        Program::Agent => "agent_id: agent-001",
        Program::Daemon => {
            "agents: [{ id: agent-001, binary_path: /usr/local/bin/ops-agent }]\nhooks: [{ exec: [/usr/local/bin/notify] }]"
        }
    };
    let mut root = Section::default();
    let (environment, overrides) = (Environment::default(), Overrides::none());
    let Ok(source) = yaml::decode("", text.as_bytes(), yaml::AGENT) else { return root };
    let (Some(node), _) = yaml::read(&source, yaml::AGENT) else { return root };
    let reader = Reader::new(&source, &node, &environment, &overrides).declaring();
    match program {
        Program::Agent => drop(agent_schema::read(&Scope::whole(&reader), None)),
        Program::Daemon => drop(daemon_schema::read(&Scope::whole(&reader), AgentFiles::UNREAD)),
    }
    for declaration in reader.take_declarations() {
        match declaration {
            Declaration::Section { path, doc } => root.at(&path).doc = doc,
            Declaration::Key(key) => {
                let section = match key.path.rsplit_once('.') {
                    Some((section, _)) => root.at(section),
                    None => &mut root,
                };
                section.parts.push(Part::Key(key));
            }
        }
    }
    root
}

/// The environment variables that stand for a key of the agent. The daemon reads none.
#[must_use]
pub fn override_variables() -> Vec<String> {
    let mut names = Vec::new();
    gather_variables(&declared(Program::Agent), &mut names);
    names
}

fn gather_variables(section: &Section, names: &mut Vec<String>) {
    names.extend(section.keys().map(|key| variable(&key.path)));
    section.sections().for_each(|section| gather_variables(section, names));
}
