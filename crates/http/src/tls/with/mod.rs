//! TLS by rustls, with ring for its cryptography: versions 1.2 and 1.3, and what rustls holds to be safe in them.
//!
//! No session is ever resumed. A resumed one would go by what was proved hours ago, and who looks whether an agent's
//! certificate is still good wants to see the certificate; a handshake costs less than a millisecond.

mod files;
mod incoming;
mod log_limits;
mod messages;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls;
use futures_rustls::rustls::client::{ClientConfig, Resumption};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use futures_rustls::rustls::sign::SingleCertAndKey;
use futures_rustls::{TlsConnector, client};
use http_client::http_types::url::Host;

use self::files::Files;
use self::messages::Peer;
use super::{ClientFiles, Fault, FileProblem, Material, Role, ServerFiles};

pub use incoming::Incoming;
pub use log_limits::HandshakeLogLimits;

/// A connection to a server.
pub type Outgoing<S> = client::TlsStream<S>;

/// The only protocol spoken inside. Who offers others too, as browsers do, takes this one.
const HTTP_1_1: &[u8] = b"http/1.1";

/// A server's side.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    verifies_clients: bool,
    valid_until: Option<Duration>,
}

/// A client's side.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    server: &'static str,
}

pub(super) fn read<'f>(
    server: Option<&ServerFiles>,
    clients: impl IntoIterator<Item = &'f ClientFiles>,
    server_of: &'static str,
) -> Result<(Material, Vec<FileProblem>), Vec<FileProblem>> {
    let mut files = Files::default();
    let server = server.and_then(|of| Server::read(of, &mut files));
    let mut read = HashMap::new();
    for of in clients {
        if !read.contains_key(of)
            && let Some(client) = Client::read(of, &mut files, server_of)
        {
            read.insert(of.clone(), client);
        }
    }
    let Files { stamps, problems, doubts } = files;
    if problems.is_empty() { Ok((Material::new(server, read, stamps), doubts)) } else { Err(problems) }
}

impl Server {
    fn read(from: &ServerFiles, files: &mut Files) -> Option<Self> {
        let identity = files.identity(&from.identity, Peer::Client);
        let ca = from.client_ca.as_deref().map(|path| (path, files.roots(path)));
        let (identity, valid_until) = identity?;
        let cert = &from.identity.cert;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = files.made_of(Role::Cert, cert, builder)?;
        let builder = match ca {
            None => builder.with_no_client_auth(),
            Some((path, ca)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ca?), provider()).build();
                builder.with_client_cert_verifier(files.made_of(Role::Ca, path, verifier)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Self { config: Arc::new(config), verifies_clients: from.client_ca.is_some(), valid_until })
    }

    /// Whether clients have to prove who they are.
    #[must_use]
    pub const fn verifies_clients(&self) -> bool {
        self.verifies_clients
    }

    /// Until when its certificate is valid.
    #[must_use]
    pub fn valid_until(&self) -> Option<String> {
        self.valid_until.map(messages::date)
    }

    /// Meets a new connection, with which nothing was exchanged. The handshake is made by whoever reads first.
    pub fn meet<S>(&self, stream: S, peer: IpAddr, log_limits: Rc<HandshakeLogLimits>) -> Incoming<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Incoming::new(stream, Arc::clone(&self.config), peer, log_limits)
    }
}

impl Client {
    fn read(from: &ClientFiles, files: &mut Files, server: &'static str) -> Option<Self> {
        let roots = match &from.ca {
            Some(path) => files.roots(path),
            None => files.system_roots(),
        };
        let identity = from.identity.as_ref().map(|identity| files.identity(identity, Peer::Server(server)));
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = match &from.ca {
            Some(path) => files.made_of(Role::Ca, path, builder),
            None => files.made_of(Role::SystemRoots, Path::new(""), builder),
        };
        let builder = builder?.with_root_certificates(roots?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity?.0))),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.resumption = Resumption::disabled();
        Some(Self { config: Arc::new(config), server })
    }

    /// Begins to speak TLS with the server at the other end, which has to prove that it is `host`.
    ///
    /// # Errors
    ///
    /// [`Fault`] for whatever reason, a connection that breaks included.
    pub async fn connect<S>(&self, host: &Host<String>, stream: S) -> Result<Outgoing<S>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match host {
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| messages::no_name(name))?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| messages::fault(&error, Peer::Server(self.server)))
    }

    /// What the server says of a handshake that was over here, but not there: since TLS 1.3, what it thinks of a client's
    /// certificate comes with the first answer.
    pub fn fault_among_causes(&self, error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
            {
                return Some(messages::fault(error, Peer::Server(self.server)));
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("verifies_clients", &self.verifies_clients).finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Named wherever it is needed: no process-wide default, which another user of rustls might set otherwise.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
