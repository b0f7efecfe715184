//! What the configuration files say, and everything that is wrong with them in one go.
//!
//! `file → [yaml] (tree with places) → [scope] (+ environment, flags) → schema → typed configuration, or problems`
//!
//! A key is declared where a schema reads it: `agent_schema`, `daemon_schema`, `health_schema`,
//! `common_schema`. Everything else follows from that: the comparison at a reload (`settings`), and
//! the documents (`document`).
//!
//! Nothing here keeps state, and nothing but [`load`] and [`load_daemon`] touches a file: the
//! configuration, and what TLS needs of those that it names.

pub mod agent;
mod agent_schema;
mod common_schema;
pub mod daemon;
mod daemon_schema;
mod diff;
mod document;
mod example;
mod health_schema;
mod json_schema;
mod key;
mod layers;
mod markdown;
mod mask;
mod node;
mod numbers;
mod outline;
mod places;
mod problem;
mod raw;
mod reader;
mod scalar;
mod scope;
mod settings;
mod source;
mod suggest;
mod syntax;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod tree;
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
pub use self::outline::Program;
pub use self::problem::{Problem, Problems};
pub use self::settings::{Change, Changes};

use self::agent::AgentConfig;
use self::daemon::DaemonConfig;
use self::reader::{NamedFile, Reader};
use self::scope::Scope;
use self::source::Source;
use self::tls::{OutOfDate, UsesTls};
use self::yaml::Bounds;
use ops_http::tls::Material;
use ops_runtime::errno::is_shortage;
use ops_runtime::small_file;

/// Where the agent's file is looked for where the command line names none.
const AGENT_FILES: [&str; 2] = ["./configs/agent.yaml", "/etc/ops-agent/agent.yaml"];

/// Where the daemon's file is looked for where the command line names none.
const DAEMON_FILES: [&str; 2] = ["./configs/daemon.yaml", "/etc/ops-agent/daemon.yaml"];

/// A configuration that is right, and what the reader of a log should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<C> {
    /// What is in force.
    pub config: C,
    /// The file. `None`: the embedded one.
    pub file: Option<PathBuf>,
    /// What is odd, but not wrong. Worth a warning each.
    pub notes: Vec<String>,
    /// What the files that it names for TLS say.
    pub tls: Material,
    /// Certificates among them that are out of date.
    out_of_date: OutOfDate,
}

impl<C> Loaded<C> {
    /// Why a reload cannot take it over, if `now` is what is in use: a certificate that is out of
    /// date has come newly. The one that is there is no worse. At a start there is no other, and
    /// the clock may be wrong: then it is a note.
    #[must_use]
    pub fn refusal(&self, now: &Material) -> Option<Problems> {
        self.out_of_date.among(|path| !self.tls.agrees_on(path, now))
    }
}

/// A text that is right by itself: the files that it names were not looked at.
struct Parsed<C> {
    config: C,
    notes: Vec<String>,
    source: Source,
    files: Vec<NamedFile>,
}

impl<C: UsesTls> Parsed<C> {
    /// With the files that it names. Blocks on the disk.
    fn with_its_files(self) -> Result<Loaded<C>, Problems> {
        let Self { config, mut notes, source, files } = self;
        let tls::Read { material, notes: odd, out_of_date } = tls::read(&config, &files, source)?;
        notes.extend(odd);
        Ok(Loaded { config, file: None, notes, tls: material, out_of_date })
    }
}

/// Loads the agent's configuration: `flag > environment > file > default`.
///
/// Without a `file`, the first of `./configs/agent.yaml` and `/etc/ops-agent/agent.yaml` that
/// exists; if none does, the example file, with a note that says so. Blocks on the disk, but never
/// on a pipe: only a regular file is read, and of that 64 KiB.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Problems> {
    let found = file.map(Path::to_path_buf).or_else(|| find(&AGENT_FILES));
    let Some(path) = found else {
        // Standalone, on loopback.
        let text = document(Program::Agent, Format::Example);
        let mut loaded = parse_agent("(embedded)", text.as_bytes(), environment, overrides)?.with_its_files()?;
        let [here, system] = AGENT_FILES;
        loaded
            .notes
            .insert(0, format!("no configuration at {here} or {system}: running standalone with the embedded one"));
        return Ok(loaded);
    };
    let text = read_file(&path, yaml::AGENT)?;
    let loaded = parse_agent(&path.display().to_string(), &text, environment, overrides)?.with_its_files()?;
    Ok(Loaded { file: Some(path), ..loaded })
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
    read(name, text, yaml::AGENT, environment, overrides, schema)
}

/// Loads the daemon's configuration: `flag > file > default`. Without a `file`, the first of
/// `./configs/daemon.yaml` and `/etc/ops-agent/daemon.yaml` that exists.
///
/// Blocks on the disk, as [`load`] does.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn load_daemon(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded<DaemonConfig>, Problems> {
    let Some(path) = file.map(Path::to_path_buf).or_else(|| find(&DAEMON_FILES)) else {
        let [here, system] = DAEMON_FILES;
        let fact = format!("there is no configuration here, nor at {system}");
        return Err(Problems::whole_file(here, fact, "name one with `--config FILE`"));
    };
    let text = read_file(&path, yaml::DAEMON)?;
    let loaded = parse_daemon(&path.display().to_string(), &text, overrides)?.with_its_files()?;
    Ok(Loaded { file: Some(path), ..loaded })
}

fn parse_daemon(name: &str, text: &[u8], overrides: &Overrides) -> Result<Parsed<DaemonConfig>, Problems> {
    let schema = |reader: &Reader<'_>| (daemon_schema::read(&Scope::whole(reader)), Vec::new());
    let mut parsed = read(name, text, yaml::DAEMON, &Environment::default(), overrides, schema)?;
    if parsed.config.agents.is_empty() {
        parsed.notes.push("there is no agent to supervise".to_owned());
    }
    Ok(parsed)
}

/// Reads a text by a schema, and gathers what is wrong from all stages.
fn read<C>(
    name: &str,
    text: &[u8],
    bounds: Bounds,
    environment: &Environment,
    overrides: &Overrides,
    schema: impl for<'r> FnOnce(&'r Reader<'r>) -> (Option<C>, Vec<String>),
) -> Result<Parsed<C>, Problems> {
    let source = match yaml::decode(name, text, bounds) {
        Ok(source) => source,
        Err(refused) => return Err(Problems::new(refused.0, vec![refused.1])),
    };
    let (root, mut problems) = yaml::read(&source, bounds);
    let Some(root) = root else { return Err(Problems::new(source, problems)) };
    let reader = Reader::new(&source, &root, environment, overrides);
    let (config, notes) = schema(&reader);
    let files = reader.take_files();
    problems.extend(reader.finish());
    match config {
        Some(config) if problems.is_empty() => Ok(Parsed { config, notes, source, files }),
        _ => Err(Problems::new(source, problems)),
    }
}

/// Notes variables with the prefix that are no setting. They may be another program's, so they are
/// no error: on Kubernetes, a service named `agent` makes some.
fn unknown_variables(environment: &Environment, keys: &BTreeSet<String>) -> Vec<String> {
    let known: BTreeSet<String> = keys.iter().map(|key| layers::variable(key)).collect();
    let unknown = environment.settings.keys().filter(|name| !known.contains(*name));
    let note = |name: &String| match suggest::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("the variable `{name}` is no setting and has no effect: did you mean `{near}`?"),
        None => format!("the variable `{name}` is no setting and has no effect"),
    };
    unknown.map(note).collect()
}

fn find(candidates: &[&str]) -> Option<PathBuf> {
    // A file that is there but cannot be read is found, and then an error: it is not passed over in silence.
    candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| !matches!(path.symlink_metadata(), Err(error) if is_absent(&error)))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read_file(path: &Path, bounds: Bounds) -> Result<Vec<u8>, Problems> {
    let name = path.display().to_string();
    let refuse = |fact: String, remedy: &str| Problems::whole_file(&name, fact, remedy);
    let unreadable = |error: io::Error| {
        let remedy = if is_absent(&error) {
            "name a file that exists with `--config FILE`"
        } else if is_shortage(&error) {
            "raise the limits on open files and memory"
        } else {
            "see that the file is sound and that this user may read it"
        };
        let problems = refuse(format!("the file cannot be read: {error}"), remedy);
        if is_shortage(&error) { problems.passing() } else { problems }
    };
    let bytes = small_file::read(path, bounds.bytes()).map_err(unreadable)?;
    bytes.ok_or_else(|| refuse("this is not a regular file".to_owned(), "name one with `--config FILE`"))
}
