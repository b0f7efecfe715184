//! Which status file a command reads.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ops_config::agent::AgentConfig;
use ops_config::{Environment, Loaded, Overrides};
use ops_runtime::program;

/// The default directory of status files.
const DIRECTORY: &str = "state";

/// Where `ops-agent@.service` has the configurations and the state directories of its instances.
const UNIT: (&str, &str) = ("/etc/ops-agent", "/var/lib/ops-agent");

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
        let loaded = self.load(&environment)?;
        if let Some(file) = &loaded.file {
            // A relative path would be right only in the directory in which the agent was started.
            let unit = if environment.has_state_directory() { None } else { of_the_unit(file, UNIT) };
            return Ok(match unit {
                Some(directory) => self.load(&environment.with_state_directory(directory))?.config.state.file,
                None => loaded.config.state.file,
            });
        }
        match files_in(Path::new(DIRECTORY)).as_slice() {
            // No agent has run here yet: the path is the one that an agent here would use.
            [] => Ok(loaded.config.state.file),
            [only] => Ok(only.clone()),
            many => Err(LocateError::Many(many.to_vec())),
        }
    }

    fn load(&self, environment: &Environment) -> Result<Loaded<AgentConfig>, LocateError> {
        ops_config::load_settings(self.config.as_deref(), environment, &Overrides::none())
            .map_err(|_| LocateError::BadConfig(self.config.clone()))
    }
}

/// The state directory of the unit that runs an agent with this configuration, if the unit has been started.
fn of_the_unit(config: &Path, (configs, states): (&str, &str)) -> Option<PathBuf> {
    let config = config.canonicalize().ok()?;
    let instance = config.file_stem().filter(|_| config.extension().is_some_and(|end| end == "yaml"))?;
    let directory = Path::new(states).join(instance);
    // The unit of the daemon left its directories at the same place, and an instance is never a link.
    let is_directory = fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir());
    (config.parent() == Some(Path::new(configs)) && is_directory).then_some(directory)
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
                    "the configuration {file} cannot be used: see `{} validate --config {file}`, or use --state-file",
                    program::name()
                )
            }
            Self::BadConfig(None) => {
                write!(f, "the configuration cannot be used: see `{} validate`, or use --state-file", program::name())
            }
            Self::Many(files) => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "several status files: select one with --state-file: {}", names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_state_directory_of_a_unit_is_found_by_the_name_of_the_configuration() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(path("configs/more")).unwrap();
        fs::create_dir_all(path("states/web")).unwrap();
        for name in ["configs/web.yaml", "configs/web.yml", "configs/other.yaml", "configs/more/web.yaml"] {
            fs::write(path(name), "").unwrap();
        }
        symlink("/", path("states/other")).unwrap();
        let (configs, states) = (path("configs"), path("states"));
        let unit = (configs.to_str().unwrap(), states.to_str().unwrap());
        assert_eq!(of_the_unit(&path("configs/more/../web.yaml"), unit), Some(path("states/web")));
        for name in ["configs/web.yml", "configs/other.yaml", "configs/more/web.yaml", "configs/missing.yaml"] {
            assert_eq!(of_the_unit(&path(name), unit), None, "{name}");
        }
    }
}
