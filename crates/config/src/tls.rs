//! The files that TLS needs: read once the configuration is known to be right, and complained of
//! where it names them.

use std::path::{Path, PathBuf};

use super::agent::AgentConfig;
use super::daemon::DaemonConfig;
use super::problem::{Place, Problem, Problems};
use super::reader::NamedFile;
use super::source::Source;
use ops_http::tls::{ClientFiles, FileProblem, Material, ServerFiles};

/// A configuration that may need TLS.
pub(super) trait UsesTls {
    /// What messages call the servers that its clients talk to.
    const SERVERS: &'static str;

    /// The files of its server.
    fn server(&self) -> Option<&ServerFiles>;

    /// The files of its clients.
    fn clients(&self) -> Vec<&ClientFiles>;
}

impl UsesTls for AgentConfig {
    const SERVERS: &'static str = "the daemon";

    fn server(&self) -> Option<&ServerFiles> {
        self.http.tls.as_ref()
    }

    fn clients(&self) -> Vec<&ClientFiles> {
        self.heartbeat.iter().filter_map(super::agent::HeartbeatConfig::secure).collect()
    }
}

impl UsesTls for DaemonConfig {
    const SERVERS: &'static str = "the agent";

    fn server(&self) -> Option<&ServerFiles> {
        self.http.tls.as_ref()
    }

    fn clients(&self) -> Vec<&ClientFiles> {
        self.agents.iter().filter_map(super::daemon::AgentSpec::secure).collect()
    }
}

/// Certificates that are out of date, each with its problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OutOfDate {
    source: Option<Source>,
    files: Vec<(PathBuf, Problem)>,
}

impl OutOfDate {
    /// Those in files of which `is_new` says that they were not in use before, if there are any.
    pub(super) fn among(&self, is_new: impl Fn(&Path) -> bool) -> Option<Problems> {
        let new = self.files.iter().filter(|(path, _)| is_new(path)).map(|(_, problem)| problem.clone());
        let new: Vec<Problem> = new.collect();
        self.source.as_ref().filter(|_| !new.is_empty()).map(|source| Problems::new(source.clone(), new))
    }
}

/// The result of reading the files.
pub(super) struct Read {
    pub(super) material: Material,
    /// What is odd: a line for each.
    pub(super) notes: Vec<String>,
    pub(super) out_of_date: OutOfDate,
}

/// Reads all files that `config` names. Blocks on the disk.
pub(super) fn read<C: UsesTls>(config: &C, given: &[NamedFile], source: Source) -> Result<Read, Problems> {
    let (material, doubts) = match Material::read(config.server(), config.clients(), C::SERVERS) {
        Ok(read) => read,
        Err(problems) => {
            let problems = problems.iter().map(|problem| in_its_place(problem, given)).collect();
            return Err(Problems::new(source, problems));
        }
    };
    let mut notes = Vec::new();
    let mut files = Vec::new();
    for doubt in &doubts {
        let problem = in_its_place(doubt, given);
        notes.push(Problems::new(source.clone(), vec![problem.clone()]).to_string());
        if doubt.by_date {
            files.push((doubt.path.clone(), problem));
        }
    }
    let source = Some(source).filter(|_| !files.is_empty());
    Ok(Read { material, notes, out_of_date: OutOfDate { source, files } })
}

fn in_its_place(problem: &FileProblem, given: &[NamedFile]) -> Problem {
    let FileProblem { role, path, fact, remedy, .. } = problem;
    let named = given.iter().find(|given| given.role == *role && given.path == *path);
    let (key, subject, place) = match named {
        Some(given) => (Some(given.key.clone()), given.subject.as_str(), given.place.clone()),
        None => (None, "a file for TLS", Place::WholeFile),
    };
    Problem { key, fact: format!("{subject} {fact}"), remedy: remedy.clone(), place, other: None }
}
