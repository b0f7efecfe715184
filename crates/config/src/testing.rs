//! What tests and fuzz targets drive. No program has it.

use super::agent::AgentConfig;
use super::daemon::DaemonConfig;
use super::layers::{Environment, Overrides};
use super::problem::Problems;
use super::tls::OutOfDate;
use super::{Loaded, Parsed, parse_agent};
use ops_http::tls::Material;

/// Reads a text as the agent's configuration. `name` is what messages call it. Files that it names
/// are not read.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub fn parse(
    name: &str,
    text: &[u8],
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Problems> {
    parse_agent(name, text, environment, overrides).map(alone)
}

/// Reads a text as the daemon's configuration, as [`parse`] does.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub fn parse_daemon(name: &str, text: &[u8], overrides: &Overrides) -> Result<Loaded<DaemonConfig>, Problems> {
    super::parse_daemon(name, text, overrides).map(alone)
}

/// Every setting of a configuration with its value, in the order of the documents: written to a
/// file, they make the same configuration.
#[must_use]
pub fn settings(config: &AgentConfig) -> Vec<(&str, Option<&str>)> {
    let settings = config.settings.0.iter();
    settings.map(|setting| (setting.key.as_str(), setting.value.as_deref())).collect()
}

fn alone<C>(parsed: Parsed<C>) -> Loaded<C> {
    let Parsed { config, notes, .. } = parsed;
    Loaded { config, file: None, notes, tls: Material::default(), out_of_date: OutOfDate::default() }
}
