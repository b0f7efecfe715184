//! Which status file a command is about.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Where agents put their status files if nobody says otherwise.
const DIRECTORY: &str = "state";

/// Names the status file, if the user does not rely on the default.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Choice {
    /// The status file. Default: the only one in ./state
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
}

impl Choice {
    /// The file that is meant.
    pub(super) fn locate(&self) -> Result<PathBuf, LocateError> {
        match &self.state_file {
            Some(path) => Ok(path.clone()),
            None => only_one_in(Path::new(DIRECTORY)),
        }
    }
}

fn only_one_in(directory: &Path) -> Result<PathBuf, LocateError> {
    let entries = fs::read_dir(directory).map_err(|_| LocateError::None)?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_state(path)).collect();
    match files.pop() {
        Some(only) if files.is_empty() => Ok(only),
        Some(last) => {
            files.push(last);
            files.sort();
            Err(LocateError::Many(files))
        }
        None => Err(LocateError::None),
    }
}

fn is_state(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ron" || extension == "json")
}

/// Why it is not clear which file is meant.
#[derive(Debug)]
pub(super) enum LocateError {
    None,
    Many(Vec<PathBuf>),
}

impl fmt::Display for LocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "no status file in ./{DIRECTORY}: name it with --state-file"),
            Self::Many(files) => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "more than one status file: name the one you mean with --state-file: {}", names.join(", "))
            }
        }
    }
}
