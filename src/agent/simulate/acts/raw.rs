//! A connection of its own to where heartbeats go, for bytes that no agent sends.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Act;
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_config::agent::Framing;
use ops_protocol::heartbeat::{Heartbeat, METHOD};
use ops_protocol::jsonrpc;
use ops_runtime::blocking;
use ops_runtime::clock::within;

/// How long a connect may take, and a peer to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection to the daemon, and how a message begins on it.
pub(super) struct Raw {
    stream: Box<dyn Stream>,
    kind: Kind,
}

enum Kind {
    Http { host: String, path: String },
    Socket(Framing),
}

/// Lets `work` send on a connection of its own, until no act of this kind is in progress. Nothing happens while an earlier one
/// still sends.
pub(super) fn send_beside(wire: &HeartbeatAccess, act: Act, work: impl AsyncFnOnce(Raw) + 'static) {
    if !wire.is_idle() {
        return;
    }
    let own = wire.clone();
    wire.beside(async move {
        let connected = async {
            if let Some(raw) = Raw::connect(&own).await {
                work(raw).await;
            }
        };
        own.while_in_progress(act, connected).await;
    });
}

impl Raw {
    /// Connects to the address or the socket. `None`: there is none, or it cannot be reached.
    pub(super) async fn connect(wire: &HeartbeatAccess) -> Option<Self> {
        within(TIMEOUT, Self::try_connect(wire)).await?.ok()
    }

    async fn try_connect(wire: &HeartbeatAccess) -> io::Result<Self> {
        let target = wire.target().ok_or(io::ErrorKind::NotFound)?;
        if let Some(url) = &target.url {
            let lookup = url.clone();
            let addresses = blocking::unblock(move || lookup.socket_addrs(|| Some(80))).await??;
            let address = addresses.first().ok_or(io::ErrorKind::NotFound)?;
            let stream = Box::new(Async::<TcpStream>::connect(*address).await?);
            return Ok(Self { stream, kind: Kind::Http { host: address.to_string(), path: url.path().to_owned() } });
        }
        let socket = target.socket.ok_or(io::ErrorKind::NotFound)?;
        let stream = Box::new(Async::<UnixStream>::connect(&socket.path).await?);
        Ok(Self { stream, kind: Kind::Socket(socket.framing) })
    }

    /// What comes before a body of this length.
    pub(super) fn head(&self, length: u64) -> Vec<u8> {
        match &self.kind {
            Kind::Http { host, path } => format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            )
            .into_bytes(),
            Kind::Socket(_) => Vec::new(),
        }
    }

    /// The bytes of a whole heartbeat, without its head.
    pub(super) fn body(&self, heartbeat: &Heartbeat) -> Vec<u8> {
        let body = match &self.kind {
            Kind::Http { .. } => serde_json::to_vec(heartbeat),
            Kind::Socket(Framing::JsonLines) => jsonrpc::line(heartbeat),
            Kind::Socket(Framing::JsonRpc) => {
                jsonrpc::line(&jsonrpc::Request::new(jsonrpc::Id::Number(1), METHOD, heartbeat))
            }
        };
        body.unwrap_or_default()
    }

    /// Sends bytes. `false`: the peer has closed the connection.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the peer answers or closes, but not without end.
    pub(super) async fn answer(&mut self) {
        let mut byte = [0];
        within(TIMEOUT, self.stream.read(&mut byte)).await.transpose().ok();
    }
}
