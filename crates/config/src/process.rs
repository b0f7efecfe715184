//! The settings of an agent's process, after validation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The variables that the daemon itself gives to an agent. No setting can replace them.
pub const RESERVED_VARIABLES: [&str; 2] = ["OPS_AGENT_START_SECRET", "OPS_AGENT_SUPERVISED_AS"];

/// The size limit of `NAME=value`, in bytes. Linux refuses a larger one.
pub(super) const MAX_VARIABLE_BYTES: usize = 128 * 1024 - 1;

/// The settings of an agent's process. Only a new process gets a changed one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Variables for its environment.
    pub env: Variables,
    /// A file with more variables.
    pub env_file: Option<EnvFile>,
}

/// Variables by name. `Debug` shows only the names, because a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(pub(super) BTreeMap<String, String>);

/// A file with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it may be missing.
    pub optional: bool,
}

impl ProcessSettings {
    /// All settings with their values as text, for a comparison. Empty if all are the defaults.
    #[must_use]
    pub fn comparable(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        // The values of the variables are not in the `Debug` form.
        format!("{self:?} {:?}", self.env.0)
    }

    /// The settings with relative paths resolved against `base`.
    #[must_use]
    pub fn resolved(&self, base: &Path) -> Self {
        let env_file = self.env_file.as_ref();
        let env_file = env_file.map(|file| EnvFile { path: base.join(&file.path), optional: file.optional });
        Self { env_file, ..self.clone() }
    }
}

impl Variables {
    /// Each variable with its value.
    pub fn iter(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.0.iter().map(|(name, value)| (name.into(), value.into()))
    }

    /// The names, in the syntax of a list.
    pub(super) fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a text is no name of a variable that an agent may be given.
pub(super) fn refused_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
        Some("is not a name of a variable")
    } else if RESERVED_VARIABLES.contains(&name) {
        Some("is set by the daemon")
    } else {
        None
    }
}
