//! A build without TLS: nothing of it can come into being, and a configuration that asks for it is refused before.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use http_client::http_types::url::Host;

use super::{ClientFiles, Fault, FileProblem, Material, ServerFiles};

/// A server's side.
#[derive(Debug, Clone)]
pub struct Server(Infallible);

/// A client's side.
#[derive(Debug, Clone)]
pub struct Client(Infallible);

/// What is said of connections with clients that came to nothing.
#[derive(Debug, Default)]
pub struct HandshakeLogLimits;

/// A connection that a client began.
#[derive(Debug)]
pub struct Incoming<S>(Infallible, PhantomData<S>);

/// A connection to a server.
#[derive(Debug)]
pub struct Outgoing<S>(Infallible, PhantomData<S>);

pub(super) fn read<'f>(
    _: Option<&ServerFiles>,
    _: impl IntoIterator<Item = &'f ClientFiles>,
    _: &'static str,
) -> Result<(Material, Vec<FileProblem>), Vec<FileProblem>> {
    Ok((Material::default(), Vec::new()))
}

impl Server {
    /// Whether clients have to prove who they are.
    #[must_use]
    pub const fn verifies_clients(&self) -> bool {
        match self.0 {}
    }

    /// Until when its certificate is valid.
    #[must_use]
    pub fn valid_until(&self) -> Option<String> {
        match self.0 {}
    }

    pub fn meet<S>(&self, _: S, _: IpAddr, _: Rc<HandshakeLogLimits>) -> Incoming<S> {
        match self.0 {}
    }
}

impl Client {
    pub async fn connect<S>(&self, _: &Host<String>, _: S) -> Result<Outgoing<S>, Fault> {
        match self.0 {}
    }

    pub fn fault_among_causes(&self, _: &(dyn std::error::Error + 'static)) -> Option<Fault> {
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

no_stream!(Incoming, Outgoing);
