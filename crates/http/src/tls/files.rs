//! The files with keys that a configuration names, and what is wrong with them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The files with which one side proves its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityFiles {
    /// The certificate in PEM, followed by the certificates of intermediate CAs.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerFiles {
    /// The server's identity.
    pub identity: IdentityFiles,
    /// The CAs that sign client certificates. `None`: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// The files of a client. The default is the system's CAs, without a client certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The CAs that sign server certificates. `None`: the system's CAs.
    pub ca: Option<PathBuf>,
    /// The client's identity, for servers that require one.
    pub identity: Option<IdentityFiles>,
}

/// The purpose of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A certificate.
    Cert,
    /// A private key.
    Key,
    /// CA certificates.
    Ca,
    /// The system's CAs, which are not one file.
    SystemRoots,
    /// A bearer token, which has nothing to do with TLS.
    Token,
}

/// A problem with a file, or a warning about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The purpose of the file.
    pub role: Role,
    /// The path of the file. Empty for [`Role::SystemRoots`].
    pub path: PathBuf,
    /// The fact, worded to follow the name of the configuration key.
    pub fact: String,
    /// The remedy.
    pub remedy: String,
    /// Whether only the date is wrong, so that another day or a corrected clock would remove the problem.
    pub by_date: bool,
}

impl FileProblem {
    /// A problem that no other day would remove. `fact` follows the path, or stands alone for [`Role::SystemRoots`].
    pub(crate) fn new(role: Role, path: &Path, fact: &str, remedy: &str) -> Self {
        let fact = match role {
            Role::SystemRoots => fact.to_owned(),
            Role::Cert | Role::Key | Role::Ca | Role::Token => format!("is `{}`, {fact}", path.display()),
        };
        Self { role, path: path.to_owned(), fact, remedy: remedy.to_owned(), by_date: false }
    }
}

/// What one pass over the files gives.
#[derive(Debug)]
pub(super) struct LoadedFiles<S, C> {
    pub(super) server: Option<S>,
    pub(super) clients: HashMap<ClientFiles, C>,
    /// A hash of the content of each file.
    pub(super) stamps: BTreeMap<PathBuf, u64>,
    pub(super) warnings: Vec<FileProblem>,
}
