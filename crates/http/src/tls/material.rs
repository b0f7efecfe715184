//! The content of all TLS files of a configuration.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::backend::{self, TlsClient, TlsServer};
use super::files::{ClientFiles, FileProblem, LoadedFiles, ServerFiles};

/// Identities and CAs, ready for use. Two values are equal if their files had the same content.
#[derive(Debug, Clone, Default)]
pub struct Material {
    server: Option<TlsServer>,
    clients: HashMap<ClientFiles, TlsClient>,
    /// A hash of the content of each file, to detect changes.
    stamps: BTreeMap<PathBuf, u64>,
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.stamps == other.stamps
    }
}

impl Eq for Material {}

impl Material {
    /// Reads all files, each combination once. Returns the warnings too. `server_name` is how messages call the
    /// server of the clients, such as `the daemon`. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn read<'f>(
        server: Option<&ServerFiles>,
        clients: impl IntoIterator<Item = &'f ClientFiles>,
        server_name: &'static str,
    ) -> Result<(Self, Vec<FileProblem>), Vec<FileProblem>> {
        let LoadedFiles { server, clients, stamps, warnings } = backend::read(server, clients, server_name)?;
        Ok((Self { server, clients, stamps }, warnings))
    }

    /// The server side.
    #[must_use]
    pub const fn server(&self) -> Option<&TlsServer> {
        self.server.as_ref()
    }

    /// The client side with these files.
    #[must_use]
    pub fn client(&self, files: &ClientFiles) -> Option<&TlsClient> {
        self.clients.get(files)
    }

    /// Whether the file has the same content as in `other`.
    #[must_use]
    pub fn agrees_on(&self, path: &Path, other: &Self) -> bool {
        self.stamps.get(path).is_some_and(|stamp| other.stamps.get(path) == Some(stamp))
    }

    /// Whether the files of a client have the same content as in `other`.
    #[must_use]
    pub fn agrees_on_client(&self, files: &ClientFiles, other: &Self) -> bool {
        let ClientFiles { ca, identity } = files;
        let identity = identity.iter().flat_map(|identity| [identity.cert.as_path(), &identity.key]);
        // The system's CAs are kept under the empty path.
        let ca = ca.as_deref().unwrap_or(Path::new(""));
        std::iter::once(ca).chain(identity).all(|path| self.agrees_on(path, other))
    }
}
