//! Checks what the paths in a configuration mean on this host: what a start would refuse, and what it should not rely
//! on. A start, a reload and `validate` use the same checks.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Uid, getegid, getgroups};

use super::accounts::find_group;
use super::problem::{Location, Problem};
use super::process::EnvFile;
use super::raw::quote;
use super::source::Source;
use ops_runtime::paths::absolute;

/// The longest address of a Unix socket, in bytes. The kernel keeps one more for the final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What a path in the configuration is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathUse {
    /// The address of a Unix socket.
    Socket(PathBuf),
    /// The file that the log is appended to.
    Log(PathBuf),
    /// A program that is executed.
    Program(PathBuf),
    /// A file with variables.
    EnvFile(EnvFile),
    /// The daemon's work directory.
    WorkDir(PathBuf),
    /// The work directory of an agent. Each agent has its own.
    AgentWorkDir(PathBuf),
    /// A file that other users may read.
    SharedFile(PathBuf),
    /// No path, but the name or number of a group that files are given to.
    Group(String),
}

/// A path, and the key that gives it.
#[derive(Debug)]
pub(super) struct UsedPath {
    pub(super) path: PathUse,
    /// The full path of the key, such as `daemon.socket_path`.
    pub(super) key: String,
    /// The name of the source in messages.
    pub(super) subject: String,
    pub(super) location: Location,
}

/// The result of the checks.
#[derive(Debug, Default)]
pub(super) struct HostFindings {
    /// What a start refuses.
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// A fact, without its subject, and the remedy.
type Remark = (String, String);

/// Looks at every path. Blocks on the disk, but never on a pipe.
pub(super) fn check(paths: &[UsedPath], source: &Source) -> HostFindings {
    let mut findings = HostFindings::default();
    let mut directories = HashMap::new();
    for used in paths {
        let problem = match &used.path {
            PathUse::Socket(path) => long_socket_path(path),
            PathUse::Log(path) => unusable_log(path),
            PathUse::AgentWorkDir(path) => {
                let first = *directories.entry(canonical(path)).or_insert(used);
                if !std::ptr::eq(first, used) {
                    findings.problems.push(shared(used, first, path, source));
                }
                None
            }
            PathUse::Group(name) => unusable_group(name),
            PathUse::Program(_) | PathUse::EnvFile(_) | PathUse::WorkDir(_) | PathUse::SharedFile(_) => None,
        };
        let warning = match &used.path {
            PathUse::Log(path) => missing_log_directory(path),
            PathUse::Program(path) => unusable_program(path),
            PathUse::EnvFile(file) => doubtful_env_file(file),
            PathUse::WorkDir(path) | PathUse::AgentWorkDir(path) => open_directory(path),
            PathUse::SharedFile(path) => closed_directory(path),
            PathUse::Socket(_) | PathUse::Group(_) => None,
        };
        findings.problems.extend(problem.map(|remark| used.problem(remark)));
        findings.warnings.extend(warning.map(|remark| used.problem(remark)));
    }
    findings
}

impl UsedPath {
    fn problem(&self, (fact, remedy): Remark) -> Problem {
        let (key, location) = (Some(self.key.clone()), self.location.clone());
        Problem { key, fact: format!("{} {fact}", self.subject), remedy, location, other: None }
    }
}

fn long_socket_path(path: &Path) -> Option<Remark> {
    let path = absolute(path);
    let length = path.as_os_str().as_bytes().len();
    let fact = format!("is {}, which has {length} bytes", shown(&path));
    (length > MAX_SOCKET_PATH)
        .then(|| (fact, format!("write a path that has at most {MAX_SOCKET_PATH} bytes when it is absolute")))
}

/// A start makes missing directories, but cannot make one in a file.
fn unusable_log(path: &Path) -> Option<Remark> {
    let path = absolute(path);
    if path.is_dir() {
        return Some((format!("is {}, a directory", shown(&path)), "write the path of a file".to_owned()));
    }
    let existing = path.ancestors().skip(1).find(|directory| directory.symlink_metadata().is_ok())?;
    let fact = format!("is {}, but {} is not a directory", shown(&path), shown(existing));
    (!existing.is_dir()).then(|| (fact, "write the path of a file in a directory".to_owned()))
}

fn missing_log_directory(path: &Path) -> Option<Remark> {
    let path = absolute(path);
    let directory = path.parent()?;
    let is_missing = matches!(directory.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    let fact = format!("is in the directory {}, which does not exist", shown(directory));
    is_missing.then(|| (fact, "create it, or leave it to the start of this program".to_owned()))
}

fn unusable_program(path: &Path) -> Option<Remark> {
    let fact = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "which does not exist",
        // Another user may see more.
        Err(_) => return None,
        Ok(found) if !found.is_file() => "which is not a file",
        Ok(found) if found.permissions().mode() & 0o111 == 0 => "which is not executable",
        Ok(_) => return None,
    };
    Some((format!("is {}, {fact}", shown(path)), "install the program, or correct the path".to_owned()))
}

/// A file that a start would refuse, or that others may write.
fn doubtful_env_file(file: &EnvFile) -> Option<Remark> {
    if let Err(error) = file.read() {
        let error = error.to_string();
        let (fact, remedy) = error.split_once(": ").unwrap_or((&error, "correct the file"));
        return Some((format!("prevents each start, because {fact}"), remedy.to_owned()));
    }
    let is_open = file.path.metadata().is_ok_and(|found| found.permissions().mode() & 0o022 != 0);
    let fact = "names a file that is writable by group or others".to_owned();
    is_open.then(|| (fact, format!("run `chmod go-w {}`", file.path.display())))
}

/// A directory in which every user of the host can replace files.
fn open_directory(path: &Path) -> Option<Remark> {
    let found = path.metadata().ok().filter(fs::Metadata::is_dir)?;
    let mode = found.permissions().mode() & 0o7777;
    let fact = format!("is {}, which all users of this host can write (mode {mode:04o})", shown(path));
    (mode & 0o002 != 0).then(|| (fact, "run `chmod o-w` on it".to_owned()))
}

/// A directory that only its owner may enter, with a file for other readers.
fn closed_directory(path: &Path) -> Option<Remark> {
    let path = absolute(path);
    let directory = path.parent()?;
    let mode = directory.metadata().ok()?.permissions().mode() & 0o7777;
    let fact =
        format!("lets others read the file, but only the owner may enter {} (mode {mode:04o})", shown(directory));
    (mode & 0o011 == 0).then(|| (fact, "let its readers enter with `chmod g+x` or `chmod o+x`".to_owned()))
}

/// A group that does not exist, or that this user may not give a file to. A name service that fails is left to the start.
fn unusable_group(name: &str) -> Option<Remark> {
    let remedy = |what: &str| format!("{what}, or name another group");
    let Some(group) = find_group(name).ok()? else {
        return Some((format!("is {}, a group that does not exist", quote(name)), remedy("create the group")));
    };
    let is_member = || getegid() == group.gid || getgroups().is_ok_and(|groups| groups.contains(&group.gid));
    let fact = format!("is {}, a group of which this user is not a member", quote(name));
    (!Uid::effective().is_root() && !is_member()).then(|| (fact, remedy("make this user a member")))
}

fn shared(used: &UsedPath, first: &UsedPath, path: &Path, source: &Source) -> Problem {
    let fact = format!("is {}, which is also the work directory of another agent", shown(&absolute(path)));
    let problem = used.problem((fact, "use a different `work_dir` for each".to_owned()));
    let Location::File(span) = &first.location else { return problem };
    let from = if let Location::File(own) = &used.location { own.start } else { span.start };
    let fact = format!("{}, on {}", problem.fact, source.place(span.start, from));
    Problem { fact, other: Some((span.clone(), "first here")), ..problem }
}

/// The path without links, also if its end does not exist yet.
fn canonical(path: &Path) -> PathBuf {
    let path = absolute(path);
    let existing = path.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let Some((ancestor, mut canonical)) = existing else { return path };
    for component in path.strip_prefix(ancestor).iter().flat_map(|rest| rest.components()) {
        match component {
            Component::ParentDir => drop(canonical.pop()),
            Component::Normal(name) => canonical.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    canonical
}

fn shown(path: &Path) -> String {
    quote(&path.display().to_string())
}
