//! All that TLS needs of the files that a configuration names, read in one go.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{Client, ClientFiles, FileProblem, Server, ServerFiles};

/// What was read, ready for use. Two are equal if their files had the same content.
#[derive(Debug, Clone, Default)]
pub struct Material {
    server: Option<Server>,
    clients: HashMap<ClientFiles, Client>,
    /// A hash of what each file said: enough to tell whether it says something else by now.
    stamps: BTreeMap<PathBuf, u64>,
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.stamps == other.stamps
    }
}

impl Eq for Material {}

impl Material {
    #[cfg(feature = "tls")]
    pub(super) const fn new(
        server: Option<Server>,
        clients: HashMap<ClientFiles, Client>,
        stamps: BTreeMap<PathBuf, u64>,
    ) -> Self {
        Self { server, clients, stamps }
    }

    /// Reads all files, each combination once. `server_of` is what messages call the servers that the clients talk to, such
    /// as `the daemon`. Blocks on the disk.
    ///
    /// With the material comes what is odd about it, but no reason not to go on.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub fn read<'f>(
        server: Option<&ServerFiles>,
        clients: impl IntoIterator<Item = &'f ClientFiles>,
        server_of: &'static str,
    ) -> Result<(Self, Vec<FileProblem>), Vec<FileProblem>> {
        super::build::read(server, clients, server_of)
    }

    /// The server's side.
    #[must_use]
    pub const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The client's side with these files.
    #[must_use]
    pub fn client(&self, files: &ClientFiles) -> Option<&Client> {
        self.clients.get(files)
    }

    /// Whether a file says what it said to `other`.
    #[must_use]
    pub fn agrees_on(&self, path: &Path, other: &Self) -> bool {
        self.stamps.get(path).is_some_and(|stamp| other.stamps.get(path) == Some(stamp))
    }

    /// Whether these files say what they said to `other`.
    #[must_use]
    pub fn agrees_on_client(&self, files: &ClientFiles, other: &Self) -> bool {
        let ClientFiles { ca, identity } = files;
        let identity = identity.iter().flat_map(|identity| [identity.cert.as_path(), &identity.key]);
        // The system's CAs have no path of their own.
        let ca = ca.as_deref().unwrap_or(Path::new(""));
        std::iter::once(ca).chain(identity).all(|path| self.agrees_on(path, other))
    }
}
