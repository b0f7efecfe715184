//! Where the configuration is read from, at the start and at each reload.

use std::path::PathBuf;

use ops_config::agent::AgentConfig;
use ops_config::{Environment, Loaded, Overrides, Problems};

/// The file, the environment and the command line of the start. Only the content of the file can change.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// `None`: the default locations are searched, then the embedded configuration is used.
    pub file: Option<PathBuf>,
    /// Whether the file came through a pipe at the start.
    pub read_once: bool,
    /// The environment of this process.
    pub environment: Environment,
    /// The settings from the command line.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks everything. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn load(&self) -> Result<Loaded<AgentConfig>, Problems> {
        if let Some(file) = self.file.as_deref().filter(|_| self.read_once) {
            return Err(ops_config::not_again(file));
        }
        ops_config::load(self.file.as_deref(), &self.environment, &self.overrides)
    }
}
