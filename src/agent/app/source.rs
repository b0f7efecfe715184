//! Where the configuration came from, and where a reload looks again.

use std::path::PathBuf;

use ops_config::agent::AgentConfig;
use ops_config::{Environment, Loaded, Overrides, Problems};

/// A file, the environment and the command line, as they were at the start. Only the file can have changed since.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// `None`: wherever one is found, or the embedded one.
    pub file: Option<PathBuf>,
    /// The environment of this process.
    pub environment: Environment,
    /// What the command line sets.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks everything. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub fn load(&self) -> Result<Loaded<AgentConfig>, Problems> {
        ops_config::load(self.file.as_deref(), &self.environment, &self.overrides)
    }
}
