//! Entry points for tests and fuzz targets. No program is built with them.

use super::agent::AgentConfig;
use super::agent_file::AgentFiles;
use super::daemon::DaemonConfig;
use super::layers::{Environment, Overrides};
use super::problem::Problems;
use super::{Loaded, Parsed, parse_agent};

/// Reads a text as the agent's configuration. `name` is its name in messages. Files that it names
/// are not read.
///
/// # Errors
///
/// All problems at once.
pub fn parse(
    name: &str,
    text: &[u8],
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Problems> {
    parse_agent(name, text, environment, overrides).map(Parsed::without_its_files)
}

/// Reads a text as the daemon's configuration, as [`parse`] does.
///
/// # Errors
///
/// All problems at once.
pub fn parse_daemon(name: &str, text: &[u8], overrides: &Overrides) -> Result<Loaded<DaemonConfig>, Problems> {
    super::parse_daemon(name, text, overrides, AgentFiles::UNREAD, None).map(Parsed::without_its_files)
}

/// Every key of a configuration with its value, in the order of the documents. A file with these
/// values gives the same configuration.
#[must_use]
pub fn settings(config: &AgentConfig) -> Vec<(&str, Option<&str>)> {
    let settings = config.settings.0.iter();
    settings.map(|setting| (setting.key.as_str(), setting.value.as_deref())).collect()
}
