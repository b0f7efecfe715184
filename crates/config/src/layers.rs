//! What speaks beside the file: the environment and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The variables that can mean something to a configuration.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Name and text of each variable with the prefix. An empty one counts as not set, as it does
    /// to the Go agent.
    pub(super) settings: BTreeMap<String, String>,
    /// Where the service manager keeps this service's state.
    pub(super) state_directory: Option<PathBuf>,
}

/// What the names of the agent's variables begin with.
pub(super) const PREFIX: &str = "AGENT_";

impl Environment {
    /// This process's own.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::from_iter(std::env::vars_os())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let (name, value) = (name.into().to_string_lossy().into_owned(), value.into());
            if value.is_empty() {
                continue;
            }
            if name == "STATE_DIRECTORY" {
                // systemd.exec(5): several are separated by colons. The first is the main one.
                let first = value.to_string_lossy().split(':').next().map(PathBuf::from);
                environment.state_directory = first;
            } else if name.starts_with(PREFIX) {
                environment.settings.insert(name, value.to_string_lossy().into_owned());
            }
        }
        environment
    }
}

/// What the command line sets: it beats the environment, which beats the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides(pub(super) Vec<Override>);

#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) flag: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Overrides {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// `flag`, as the user wrote it, sets `key`, such as `http.port`, to `value`. The last of several wins.
    #[must_use]
    pub fn set(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.0.push(Override { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() });
        self
    }
}

/// The variable of a key: `http.limits.connections` is `AGENT_HTTP_LIMITS_CONNECTIONS`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}
