//! Reads the files that TLS needs and the token file, after validation, and has the other paths checked. A problem is
//! reported at the key that names the file.

use std::path::{Path, PathBuf};

use super::agent::AgentConfig;
use super::daemon::DaemonConfig;
use super::host_checks::{self, UsedPath};
use super::problem::{Location, Problem, Problems};
use super::reader::NamedFile;
use super::source::Source;
use ops_http::Token;
use ops_http::tls::{ClientFiles, FileProblem, Material, ServerFiles};

/// A configuration that may name files.
pub(super) trait NamesFiles {
    /// The name of the servers of its clients, in messages.
    const SERVERS: &'static str;

    /// The files of its server.
    fn server(&self) -> Option<&ServerFiles>;

    /// The files of its clients.
    fn clients(&self) -> Vec<&ClientFiles>;

    /// The file with the token of its server.
    fn token_file(&self) -> Option<&Path>;
}

impl NamesFiles for AgentConfig {
    const SERVERS: &'static str = "the daemon";

    fn server(&self) -> Option<&ServerFiles> {
        self.http.tls.as_ref()
    }

    fn clients(&self) -> Vec<&ClientFiles> {
        self.heartbeat.iter().filter_map(super::agent::HeartbeatConfig::secure).collect()
    }

    fn token_file(&self) -> Option<&Path> {
        self.http.token_file.as_deref()
    }
}

impl NamesFiles for DaemonConfig {
    const SERVERS: &'static str = "the agent";

    fn server(&self) -> Option<&ServerFiles> {
        self.http.tls.as_ref()
    }

    fn clients(&self) -> Vec<&ClientFiles> {
        let of_agents = self.agents.iter().filter_map(super::daemon::AgentSpec::secure);
        of_agents.chain(self.hooks.iter().filter_map(super::hooks::HookSpec::secure)).collect()
    }

    fn token_file(&self) -> Option<&Path> {
        self.http.token_file.as_deref()
    }
}

/// Certificates that are out of date, each with its problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OutOfDate {
    source: Option<Source>,
    files: Vec<(PathBuf, Problem)>,
}

impl OutOfDate {
    /// The problems of the files for which `is_new` is true, if there are any.
    pub(super) fn among(&self, is_new: impl Fn(&Path) -> bool) -> Option<Problems> {
        let new = self.files.iter().filter(|(path, _)| is_new(path)).map(|(_, problem)| problem.clone());
        let new: Vec<Problem> = new.collect();
        self.source.as_ref().filter(|_| !new.is_empty()).map(|source| Problems::new(source.clone(), new))
    }
}

/// The result of reading the files.
pub(super) struct Contents {
    pub(super) material: Material,
    pub(super) token: Option<Token>,
    /// Warnings, one line each.
    pub(super) notes: Vec<String>,
    pub(super) out_of_date: OutOfDate,
}

/// Reads all files that `config` names, and checks the other paths on this host. Blocks on the disk.
pub(super) fn read<C: NamesFiles>(
    config: &C,
    given: &[NamedFile],
    paths: &[UsedPath],
    source: Source,
) -> Result<Contents, Problems> {
    let host = host_checks::check(paths, &source);
    let material = Material::read(config.server(), config.clients(), C::SERVERS);
    let token = config.token_file().map(Token::read).transpose();
    let ((material, warnings), token) = match (material, token) {
        (Ok(material), Ok(token)) if host.problems.is_empty() => (material, token),
        (material, token) => {
            let problems = material.err().into_iter().flatten().chain(token.err());
            let problems = problems.map(|problem| at_its_key(&problem, given)).chain(host.problems);
            return Err(Problems::new(source, problems.collect()));
        }
    };
    let (token, exposure) = token.unzip();
    let mut notes = Problems::new(source.clone(), host.warnings).into_notes();
    let mut files = Vec::new();
    for warning in warnings.iter().chain(exposure.iter().flatten()) {
        let problem = at_its_key(warning, given);
        notes.push(Problems::new(source.clone(), vec![problem.clone()]).to_string());
        if warning.by_date {
            files.push((warning.path.clone(), problem));
        }
    }
    let source = Some(source).filter(|_| !files.is_empty());
    Ok(Contents { material, token, notes, out_of_date: OutOfDate { source, files } })
}

fn at_its_key(problem: &FileProblem, given: &[NamedFile]) -> Problem {
    let FileProblem { role, path, fact, remedy, .. } = problem;
    let named = given.iter().find(|given| given.role == *role && given.path == *path);
    let (key, subject, location) = match named {
        Some(given) => (Some(given.key.clone()), given.subject.as_str(), given.location.clone()),
        None => (None, "a file", Location::WholeFile),
    };
    Problem { key, fact: format!("{subject} {fact}"), remedy: remedy.clone(), location, other: None }
}
