//! Values from the environment and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variables that a configuration can use.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Each variable with the prefix. An empty variable counts as not set, as in the Go agent.
    pub(super) settings: BTreeMap<String, String>,
    /// The service manager's state directory for this service.
    pub(super) state_directory: Option<PathBuf>,
}

/// The prefix of the agent's variables.
pub(super) const PREFIX: &str = "AGENT_";

/// The variable of `agent_id`.
const AGENT_ID: &str = "AGENT_AGENT_ID";

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::from_iter(std::env::vars_os())
    }

    /// Whether the service manager gives a state directory.
    #[must_use]
    pub const fn has_state_directory(&self) -> bool {
        self.state_directory.is_some()
    }

    /// The same environment with this state directory.
    #[must_use]
    pub fn with_state_directory(&self, directory: PathBuf) -> Self {
        Self { state_directory: Some(directory), ..self.clone() }
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
                // systemd.exec(5): several directories are separated by colons. The first is the main one.
                let first = value.to_string_lossy().split(':').next().map(PathBuf::from);
                environment.state_directory = first;
            } else if name.starts_with(PREFIX) {
                let mut text = value.to_string_lossy().into_owned();
                if name == AGENT_ID {
                    // The name of a Kubernetes node may contain dots. An ID may not, and Kubernetes cannot replace them.
                    text = text.replace('.', "-");
                }
                environment.settings.insert(name, text);
            }
        }
        environment
    }
}

/// The values from the command line. They take precedence over the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides(pub(super) Vec<Override>);

#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) flag: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Overrides {
    /// No values.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets `key`, such as `http.port`, to `value`. `flag` is for messages. The last of several values applies.
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
