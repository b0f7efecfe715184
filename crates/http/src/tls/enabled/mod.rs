//! TLS 1.2 and 1.3 by rustls, with ring for the cryptography and rustls' default cipher suites.
//!
//! Sessions are never resumed. A resumed session relies on a verification that may be hours old, and a check of an agent's
//! certificate must see the certificate. A full handshake takes less than 1 ms.

mod log_limits;
mod messages;
mod pem;
mod server_stream;

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

use self::messages::Peer;
use self::pem::Files;
use super::error::TlsError;
use super::files::{ClientFiles, FileProblem, LoadedFiles, Role, ServerFiles};

pub(crate) use log_limits::HandshakeLogLimits;
pub use server_stream::ServerTlsStream;

/// A TLS connection on the client side.
pub(crate) type ClientTlsStream<S> = client::TlsStream<S>;

/// The only protocol that is offered by ALPN. A client that offers others too, as browsers do, takes this one.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The server side.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    verifies_clients: bool,
    valid_until: Option<Duration>,
}

/// The client side.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    server: &'static str,
}

pub(super) fn read<'f>(
    server: Option<&ServerFiles>,
    clients: impl IntoIterator<Item = &'f ClientFiles>,
    server_name: &'static str,
) -> Result<LoadedFiles<TlsServer, TlsClient>, Vec<FileProblem>> {
    let mut files = Files::default();
    let server = server.and_then(|of| TlsServer::read(of, &mut files));
    let mut read = HashMap::new();
    for of in clients {
        if !read.contains_key(of)
            && let Some(client) = TlsClient::read(of, &mut files, server_name)
        {
            read.insert(of.clone(), client);
        }
    }
    let Files { stamps, problems, warnings } = files;
    if problems.is_empty() { Ok(LoadedFiles { server, clients: read, stamps, warnings }) } else { Err(problems) }
}

impl TlsServer {
    fn read(from: &ServerFiles, files: &mut Files) -> Option<Self> {
        let identity = files.identity(&from.identity, Peer::Client);
        let ca = from.client_ca.as_deref().map(|path| (path, files.roots(path)));
        let (identity, valid_until) = identity?;
        let cert = &from.identity.cert;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = files.checked(Role::Cert, cert, builder)?;
        let builder = match ca {
            None => builder.with_no_client_auth(),
            Some((path, ca)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ca?), provider()).build();
                builder.with_client_cert_verifier(files.checked(Role::Ca, path, verifier)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Self { config: Arc::new(config), verifies_clients: from.client_ca.is_some(), valid_until })
    }

    /// Whether clients need a certificate.
    #[must_use]
    pub const fn verifies_clients(&self) -> bool {
        self.verifies_clients
    }

    /// When the certificate expires.
    #[must_use]
    pub fn valid_until(&self) -> Option<String> {
        self.valid_until.map(messages::date)
    }

    /// Takes a new connection, on which no byte was exchanged. The first read makes the handshake.
    pub(crate) fn accept<S>(&self, stream: S, peer: IpAddr, log_limits: Rc<HandshakeLogLimits>) -> ServerTlsStream<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        ServerTlsStream::new(stream, Arc::clone(&self.config), peer, log_limits)
    }
}

impl TlsClient {
    fn read(from: &ClientFiles, files: &mut Files, server: &'static str) -> Option<Self> {
        let roots = match &from.ca {
            Some(path) => files.roots(path),
            None => files.system_roots(),
        };
        let identity = from.identity.as_ref().map(|identity| files.identity(identity, Peer::Server(server)));
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = match &from.ca {
            Some(path) => files.checked(Role::Ca, path, builder),
            None => files.checked(Role::SystemRoots, Path::new(""), builder),
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

    /// Makes the handshake with a server, which must prove that it is `host`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the handshake fails, also because the connection breaks.
    pub(crate) async fn connect<S>(&self, host: &Host<String>, stream: S) -> Result<ClientTlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match host {
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| messages::invalid_name(name))?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| messages::explain(&error, Peer::Server(self.server)))
    }

    /// The TLS error among the causes of an error. In TLS 1.3 the client ends the handshake first, so the server's
    /// verdict on the client certificate comes in place of the first response.
    pub(crate) fn error_among_causes(&self, error: &(dyn std::error::Error + 'static)) -> Option<TlsError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
            {
                return Some(messages::explain(error, Peer::Server(self.server)));
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("verifies_clients", &self.verifies_clients).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Passed explicitly, because another user of rustls may set another process-wide default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
