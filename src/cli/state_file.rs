//! Which status file a command reads.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ops_config::{Environment, Overrides};

/// The default directory of status files.
const DIRECTORY: &str = "state";

/// The options that select the status file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Choice {
    /// The status file. Default: `state.file` of the configuration; without a configuration, the only one in ./state
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    state_file: Option<PathBuf>,
    /// The configuration file of the agent
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Choice {
    /// The path of the selected file.
    pub(super) fn locate(&self) -> Result<PathBuf, LocateError> {
        if let Some(path) = &self.state_file {
            return Ok(path.clone());
        }
        let environment = Environment::of_this_process();
        let loaded = ops_config::load_settings(self.config.as_deref(), &environment, &Overrides::none());
        let loaded = loaded.map_err(|_| LocateError::BadConfig(self.config.clone()))?;
        if loaded.file.is_some() {
            return Ok(loaded.config.state.file);
        }
        match files_in(Path::new(DIRECTORY)).as_slice() {
            // No agent has run here yet: the path is the one that an agent here would use.
            [] => Ok(loaded.config.state.file),
            [only] => Ok(only.clone()),
            many => Err(LocateError::Many(many.to_vec())),
        }
    }
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_state = |path: &PathBuf| path.extension().is_some_and(|name| name == "ron" || name == "json");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_state).collect();
    files.sort();
    files
}

/// Why no file is selected.
#[derive(Debug)]
pub(super) enum LocateError {
    /// This configuration, or the default one, is wrong.
    BadConfig(Option<PathBuf>),
    /// Several files are in the default directory.
    Many(Vec<PathBuf>),
}

impl fmt::Display for LocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadConfig(Some(file)) => {
                let file = file.display();
                write!(
                    f,
                    "the configuration {file} is wrong: see `agent validate --config {file}`, or use --state-file"
                )
            }
            Self::BadConfig(None) => {
                f.write_str("the configuration is wrong: see `agent validate`, or use --state-file")
            }
            Self::Many(files) => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "several status files: select one with --state-file: {}", names.join(", "))
            }
        }
    }
}
