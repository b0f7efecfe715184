//! The types of [`tls`](super) in a build without TLS. They have no values: a configuration that uses TLS is refused.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use http_client::http_types::url::Host;

use super::error::TlsError;
use super::files::{ClientFiles, FileProblem, LoadedFiles, ServerFiles};

/// The server side.
#[derive(Debug, Clone)]
pub struct TlsServer(Infallible);

/// The client side.
#[derive(Debug, Clone)]
pub struct TlsClient(Infallible);

/// Limits the log lines about failed handshakes.
#[derive(Debug, Default)]
pub(crate) struct HandshakeLogLimits;

/// A TLS connection on the server side.
#[derive(Debug)]
pub struct ServerTlsStream<S>(Infallible, PhantomData<S>);

/// A TLS connection on the client side.
#[derive(Debug)]
pub(crate) struct ClientTlsStream<S>(Infallible, PhantomData<S>);

pub(super) fn read<'f>(
    _: Option<&ServerFiles>,
    _: impl IntoIterator<Item = &'f ClientFiles>,
    _: &'static str,
) -> Result<LoadedFiles<TlsServer, TlsClient>, Vec<FileProblem>> {
    Ok(LoadedFiles { server: None, clients: HashMap::new(), stamps: BTreeMap::new(), warnings: Vec::new() })
}

impl TlsServer {
    /// Whether clients need a certificate.
    #[must_use]
    pub const fn verifies_clients(&self) -> bool {
        match self.0 {}
    }

    /// When the certificate expires.
    #[must_use]
    pub fn valid_until(&self) -> Option<String> {
        match self.0 {}
    }

    pub(crate) fn accept<S>(&self, _: S, _: IpAddr, _: Rc<HandshakeLogLimits>) -> ServerTlsStream<S> {
        match self.0 {}
    }
}

impl TlsClient {
    pub(crate) async fn connect<S>(&self, _: &Host<String>, _: S) -> Result<ClientTlsStream<S>, TlsError> {
        match self.0 {}
    }

    pub(crate) fn error_among_causes(&self, _: &(dyn std::error::Error + 'static)) -> Option<TlsError> {
        match self.0 {}
    }
}

macro_rules! no_stream {
    ($($name:ident),+) => {$(
        impl<S: Unpin> AsyncRead for $name<S> {
            fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
                match self.0 {}
            }
        }

        impl<S: Unpin> AsyncWrite for $name<S> {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                match self.0 {}
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.0 {}
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.0 {}
            }
        }
    )+};
}

no_stream!(ServerTlsStream, ClientTlsStream);
