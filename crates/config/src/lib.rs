//! Reads the configuration files. The result is a typed configuration, or all problems at once.
//!
//! `file → [yaml] (tree with spans) → [scope] (+ environment, flags) → schema → typed configuration, or problems`
//!
//! A key is declared where a schema reads it: `agent_schema`, `daemon_schema`, `process_schema`,
//! `health_schema`, `common_schema`. The comparison at a reload (`settings`) and the documents (`document`) are
//! derived from the declarations.
//!
//! The crate has no state. Only [`load`] and [`load_daemon`] read files: the configuration, and the
//! TLS and token files that it names.

mod accounts;
pub mod agent;
mod agent_file;
mod agent_schema;
mod command;
mod common_schema;
pub mod daemon;
mod daemon_schema;
mod dependencies;
mod diff;
mod discovery_schema;
mod discovery_values;
mod document;
mod env_file;
mod example;
mod file_mode;
mod glob;
mod go_daemon;
mod health_schema;
mod hook_schema;
mod hooks;
mod host_checks;
mod host_names;
mod include;
mod json_schema;
mod key;
mod layers;
mod log_schema;
mod markdown;
mod mask;
mod named_files;
mod node;
mod numbers;
mod outline;
mod paths;
mod problem;
mod process;
mod process_schema;
mod process_values;
mod raw;
mod reader;
mod readiness;
mod restart_schema;
mod scalar;
mod scope;
mod settings;
mod sizes;
mod source;
mod suggest;
mod syntax;
mod tcp_address;
#[cfg(feature = "testing")]
pub mod testing;
mod tree;
mod typed;
mod unknown;
mod values;
mod yaml;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub use self::diff::{DaemonChanges, diff, diff_daemon};
pub use self::document::{Format, document};
pub use self::key::Reload;
pub use self::layers::{Environment, Overrides};
pub use self::outline::{Program, override_variables};
pub use self::problem::{Problem, Problems};
pub use self::settings::{Change, Changes};
pub use self::typed::{parse_typed, read_typed};

use self::agent::AgentConfig;
use self::agent_file::AgentFiles;
use self::daemon::DaemonConfig;
use self::host_checks::UsedPath;
use self::include::Included;
use self::named_files::{NamesFiles, OutOfDate};
use self::reader::{NamedFile, Reader};
use self::scope::Scope;
use self::source::Source;
use self::yaml::Bounds;
use ops_http::Token;
use ops_http::tls::Material;
use ops_runtime::errno::is_shortage;
use ops_runtime::paths::absolute;
use ops_runtime::small_file::{self, Content};

/// The default locations of the agent's file, in order.
const AGENT_FILES: [&str; 2] = ["./configs/agent.yaml", "/etc/ops-agent/agent.yaml"];

/// The default locations of the daemon's file, in order.
const DAEMON_FILES: [&str; 2] = ["./configs/daemon.yaml", "/etc/ops-agent/daemon.yaml"];

/// A valid configuration, and notes about it for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<C> {
    /// The configuration.
    pub config: C,
    /// The file. `None`: the embedded one.
    pub file: Option<PathBuf>,
    /// Warnings: oddities that are not errors.
    pub notes: Vec<String>,
    /// The content of its TLS files.
    pub tls: Material,
    /// Whether the file came through a pipe, so it cannot be read again.
    pub read_once: bool,
    /// The token in `http.token_file`.
    pub token: Option<Token>,
    /// The files that it includes, in order.
    pub included: Vec<PathBuf>,
    /// Certificates in these files that are out of date.
    out_of_date: OutOfDate,
}

impl<C> Loaded<C> {
    /// Why a reload refuses this configuration while `now` is in use: a changed certificate is out of
    /// date. An unchanged one is no reason. At a start an outdated certificate is only a note,
    /// because there is no other, and the clock may be wrong.
    #[must_use]
    pub fn refusal(&self, now: &Material) -> Option<Problems> {
        self.out_of_date.among(|path| !self.tls.agrees_on(path, now))
    }
}

/// A valid text. The files that it names have not been read.
struct Parsed<C> {
    config: C,
    notes: Vec<String>,
    source: Source,
    files: Vec<NamedFile>,
    paths: Vec<UsedPath>,
    included: Vec<PathBuf>,
    read_once: bool,
}

impl<C: NamesFiles> Parsed<C> {
    /// Reads the files that it names, and looks at its other paths. Blocks on the disk.
    fn with_its_files(self) -> Result<Loaded<C>, Problems> {
        let Self { config, mut notes, source, files, paths, included, read_once } = self;
        let contents = named_files::read(&config, &files, &paths, source)?;
        let named_files::Contents { material, token, notes: warnings, out_of_date } = contents;
        notes.extend(warnings);
        Ok(Loaded { config, file: None, included, read_once, notes, tls: material, token, out_of_date })
    }

    fn without_its_files(self) -> Loaded<C> {
        let Self { config, notes, included, read_once, .. } = self;
        let (tls, out_of_date) = (Material::default(), OutOfDate::default());
        Loaded { config, file: None, included, read_once, notes, tls, token: None, out_of_date }
    }
}

/// Loads the agent's configuration: `flag > environment > file > default`.
///
/// Without a `file`, the first of `./configs/agent.yaml` and `/etc/ops-agent/agent.yaml` that
/// exists. If neither exists, the embedded example, with a note. `-` is the standard input. Blocks on
/// the disk, and up to 20 s on a pipe. Reads up to 64 KiB.
///
/// # Errors
///
/// All problems at once.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Problems> {
    let (parsed, file) = parse_agent_file(file, environment, overrides)?;
    Ok(Loaded { file, ..parsed.with_its_files()? })
}

/// Loads the agent's configuration without the files that it names, which only the agent's user may
/// be able to read.
///
/// # Errors
///
/// All problems at once.
pub fn load_settings(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Problems> {
    let (parsed, file) = parse_agent_file(file, environment, overrides)?;
    Ok(Loaded { file, ..parsed.without_its_files() })
}

fn parse_agent_file(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<(Parsed<AgentConfig>, Option<PathBuf>), Problems> {
    let found = file.map(Path::to_path_buf).or_else(|| find(&AGENT_FILES));
    let Some(path) = found else {
        // The embedded configuration is standalone and listens on loopback.
        let text = document(Program::Agent, Format::Example);
        let mut parsed = parse_agent("(embedded)", text.as_bytes(), environment, overrides)?;
        let [here, system] = AGENT_FILES;
        let note = format!("no configuration at {here} or {system}: running standalone with the embedded one");
        parsed.notes.insert(0, note);
        return Ok((parsed, None));
    };
    let Content { bytes, read_once } = read_file(&path, yaml::AGENT)?;
    let parsed = parse_agent(&file_name(&path), &bytes, environment, overrides)?;
    Ok((Parsed { read_once, ..parsed }, Some(path)))
}

fn parse_agent(
    name: &str,
    text: &[u8],
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Parsed<AgentConfig>, Problems> {
    let state_directory = environment.state_directory.as_deref();
    let schema = |reader: &Reader<'_>| {
        let config = agent_schema::read(&Scope::whole(reader), state_directory);
        (config, unknown_variables(environment, &reader.known_keys()))
    };
    read(name, text, yaml::AGENT, environment, overrides, None, schema)
}

/// Loads the daemon's configuration: `flag > file > default`. Without a `file`, the first of
/// `./configs/daemon.yaml` and `/etc/ops-agent/daemon.yaml` that exists.
///
/// Blocks on the disk, as [`load`] does.
///
/// # Errors
///
/// All problems at once.
pub fn load_daemon(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded<DaemonConfig>, Problems> {
    let (parsed, path) = parse_daemon_file(file, overrides, AgentFiles::FOR_THE_ID)?;
    Ok(Loaded { file: Some(path), ..parsed.with_its_files()? })
}

/// Loads the daemon's configuration as [`load_daemon`] does, and also reads the files of all agents, to warn about
/// values that do not fit together.
///
/// # Errors
///
/// All problems at once.
pub fn validate_daemon(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded<DaemonConfig>, Problems> {
    let (parsed, path) = parse_daemon_file(file, overrides, AgentFiles::ALL)?;
    Ok(Loaded { file: Some(path), ..parsed.with_its_files()? })
}

/// The daemon's socket according to its configuration. The daemon may run with an earlier version of a file that is now
/// wrong elsewhere, so only the keys of the socket have to be right. Blocks on the disk.
///
/// # Errors
///
/// If the file cannot be read, is not YAML, or gives no socket.
pub fn load_daemon_socket(file: Option<&Path>) -> Result<PathBuf, Problems> {
    let path = daemon_file(file)?;
    let text = read_file(&path, yaml::DAEMON)?.bytes;
    let source =
        yaml::decode(&location(&path), &text, yaml::DAEMON).map_err(|bad| Problems::new(bad.0, vec![bad.1]))?;
    let (root, problems) = yaml::read(&source, yaml::DAEMON);
    let Some(root) = root else { return Err(Problems::new(source, problems)) };
    let (environment, overrides) = (Environment::default(), Overrides::none());
    let reader = Reader::new(&source, &root, &environment, &overrides);
    let socket = daemon_schema::read_socket(&Scope::whole(&reader));
    socket.ok_or_else(|| Problems::new(source.clone(), reader.problems.take()))
}

fn parse_daemon_file(
    file: Option<&Path>,
    overrides: &Overrides,
    files: AgentFiles,
) -> Result<(Parsed<DaemonConfig>, PathBuf), Problems> {
    let path = daemon_file(file)?;
    let Content { bytes, read_once } = read_file(&path, yaml::DAEMON)?;
    let mut parsed = parse_daemon(&file_name(&path), &bytes, overrides, files, Some(&path))?;
    let read = std::iter::once(&path).filter(|path| !is_stdin(path)).chain(&parsed.included);
    parsed.notes.extend(read.filter_map(|path| file_mode::open_to_all(path)));
    Ok((Parsed { read_once, ..parsed }, path))
}

fn daemon_file(file: Option<&Path>) -> Result<PathBuf, Problems> {
    let [here, system] = DAEMON_FILES;
    let missing = || {
        let fact = format!("no configuration file exists here or at {system}");
        Problems::whole_file(here, fact, "select one with `--config FILE`")
    };
    file.map(Path::to_path_buf).or_else(|| find(&DAEMON_FILES)).ok_or_else(missing)
}

/// `path`: where the files that it includes are searched. `None`: they are not read.
fn parse_daemon(
    name: &str,
    text: &[u8],
    overrides: &Overrides,
    files: AgentFiles,
    path: Option<&Path>,
) -> Result<Parsed<DaemonConfig>, Problems> {
    let schema = |reader: &Reader<'_>| (daemon_schema::read(&Scope::whole(reader), files), Vec::new());
    let mut parsed = read(name, text, yaml::DAEMON, &Environment::default(), overrides, path, schema)?;
    if parsed.config.agents.is_empty() {
        parsed.notes.push("there is no agent to supervise".to_owned());
    }
    Ok(parsed)
}

/// Reads a text with a schema, and collects the problems of all stages. With a `path`, the files that it includes are read.
fn read<C>(
    name: &str,
    text: &[u8],
    bounds: Bounds,
    environment: &Environment,
    overrides: &Overrides,
    path: Option<&Path>,
    schema: impl for<'r> FnOnce(&'r Reader<'r>) -> (Option<C>, Vec<String>),
) -> Result<Parsed<C>, Problems> {
    let mut source = match yaml::decode(name, text, bounds) {
        Ok(source) => source,
        Err(refused) => return Err(Problems::new(refused.0, vec![refused.1])),
    };
    let (root, mut problems) = yaml::read(&source, bounds);
    let Some(mut root) = root else { return Err(Problems::new(source, problems)) };
    let included = path.map(|path| include::merge(&mut source, &mut root, path, bounds)).unwrap_or_default();
    let Included { files: included, problems: of_included, warnings: mut merged } = included;
    problems.extend(of_included);
    let reader = Reader::new(&source, &root, environment, overrides);
    let (config, mut notes) = schema(&reader);
    merged.append(&mut reader.warnings.take());
    let (files, paths) = (reader.take_files(), reader.take_paths());
    problems.extend(reader.finish());
    match config {
        Some(config) if problems.is_empty() => {
            notes.extend(Problems::new(source.clone(), merged).into_notes());
            Ok(Parsed { config, notes, source, files, paths, included, read_once: false })
        }
        _ => Err(Problems::new(source, problems)),
    }
}

/// Notes about variables with the prefix that name no key. They are not errors, because they may
/// belong to other programs: on Kubernetes, a service named `agent` causes such variables.
fn unknown_variables(environment: &Environment, keys: &BTreeSet<String>) -> Vec<String> {
    let known: BTreeSet<String> = keys.iter().map(|key| layers::variable(key)).collect();
    let unknown = environment.settings.keys().filter(|name| !known.contains(*name));
    let note = |name: &String| match suggest::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("the variable `{name}` names no key and has no effect: did you mean `{near}`?"),
        None => format!("the variable `{name}` names no key and has no effect"),
    };
    unknown.map(note).collect()
}

fn find(candidates: &[&str]) -> Option<PathBuf> {
    // A file that exists but cannot be read is selected, so that it is reported.
    candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| !matches!(path.symlink_metadata(), Err(error) if is_absent(&error)))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The name of a configuration file in messages. `-` is the standard input.
#[must_use]
pub fn file_name(path: &Path) -> String {
    if is_stdin(path) { "(standard input)".to_owned() } else { path.display().to_string() }
}

/// The absolute path of a configuration file, for logs.
#[must_use]
pub fn location(path: &Path) -> String {
    if is_stdin(path) { file_name(path) } else { absolute(path).display().to_string() }
}

/// Why a reload is refused if the configuration came through a pipe.
#[must_use]
pub fn not_again(path: &Path) -> Problems {
    let fact = "the configuration came through a pipe, so it cannot be read again".to_owned();
    Problems::whole_file(&file_name(path), fact, "restart with the new configuration, or use a regular file")
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// How to select another file than one that cannot be read.
struct Selection {
    absent: &'static str,
    not_a_file: &'static str,
}

const CONFIGURATION: Selection =
    Selection { absent: "select an existing file with `--config FILE`", not_a_file: "select one with `--config FILE`" };

fn read_file(path: &Path, bounds: Bounds) -> Result<Content, Problems> {
    read_selected(path, bounds, &CONFIGURATION)
}

fn read_selected(path: &Path, bounds: Bounds, selection: &Selection) -> Result<Content, Problems> {
    let name = file_name(path);
    let refuse = |fact: String, remedy: &str| Problems::whole_file(&name, fact, remedy);
    let unreadable = |error: io::Error| {
        let remedy = if is_absent(&error) {
            selection.absent
        } else if is_shortage(&error) {
            "raise the limits on open files and memory"
        } else if error.kind() == io::ErrorKind::TimedOut {
            "write the whole file into the pipe, and close it"
        } else {
            "check the disk, and that this user may read the file"
        };
        let problems = refuse(format!("the file cannot be read: {error}"), remedy);
        if is_shortage(&error) { problems.transient() } else { problems }
    };
    let content = if is_stdin(path) {
        small_file::read_stdin(bounds.bytes()).map(Some)
    } else {
        small_file::read_or_pipe(path, bounds.bytes())
    };
    let content = content.map_err(unreadable)?;
    content.ok_or_else(|| refuse("this is neither a regular file nor a pipe".to_owned(), selection.not_a_file))
}
