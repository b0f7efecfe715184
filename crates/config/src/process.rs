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
    /// What its launcher sets before it executes the program.
    pub attributes: ProcessAttributes,
}

/// What the kernel keeps for a process. What is not set is that of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessAttributes {
    /// The user that it runs as, with the supplementary groups of that user.
    pub user: Option<String>,
    /// Its group instead of that of the user.
    pub group: Option<String>,
    /// The bits that new files do not get.
    pub umask: Option<u32>,
    /// The nice value.
    pub nice: Option<i32>,
    /// How soon the kernel kills it when memory runs out.
    pub oom_score_adj: Option<i32>,
    /// The soft and hard limit of each resource. `None` is no limit.
    pub limits: BTreeMap<LimitedResource, Option<u64>>,
}

/// A resource that a process may use up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitedResource {
    /// Open files.
    OpenFiles,
    /// Processes and threads of its user.
    Processes,
    /// The size of a core file.
    Core,
    /// The size of its address space.
    AddressSpace,
    /// The size of a file that it writes.
    FileSize,
    /// Memory that it locks.
    LockedMemory,
}

impl LimitedResource {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 6] =
        [Self::OpenFiles, Self::Processes, Self::Core, Self::AddressSpace, Self::FileSize, Self::LockedMemory];

    /// Its key in `limits`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
            Self::Core => "core",
            Self::AddressSpace => "address_space",
            Self::FileSize => "file_size",
            Self::LockedMemory => "locked_memory",
        }
    }
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
