//! A daemon that receives heartbeats on TCP or a Unix socket, and misbehaves on the test's command.

mod serve;
mod stream;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use self::serve::serve;
use self::stream::{Listener, Stream};

/// How a peer handles the next request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Behaviour {
    /// Acknowledges requests. Bare lines get no answer.
    Acknowledge,
    /// Answers with these bytes. `$id` stands for the ID of the request.
    Answer(Vec<u8>),
    /// The same, a byte every 20 ms.
    Dribble(Vec<u8>),
    /// Answers with these bytes, then with one gigabyte more.
    Flood(Vec<u8>),
    /// Answers with the first bytes, then with the second ones again and again, up to a gigabyte.
    Repeat(Vec<u8>, &'static [u8]),
    /// Reads, but never answers.
    Hang,
    /// Closes each connection once it has accepted it.
    CloseOnAccept,
    /// Reads a request, and closes the connection instead of answering.
    CloseOnRequest,
    /// Accepts, but reads nothing.
    NeverRead,
}

impl Behaviour {
    /// An HTTP answer with these header lines, each ended by `\r\n`.
    pub(crate) fn status(code: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!("HTTP/1.1 {code} Whatever\r\n{headers}content-length: {length}\r\n\r\n{body}").into())
    }
}

/// One request or line that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request line and headers. Empty on a Unix socket.
    pub(crate) head: String,
    /// What was sent, as JSON.
    pub(crate) body: Value,
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
}

/// A daemon in threads of the test. Dropping it is like [`Peer::vanish`].
pub(crate) struct Peer {
    address: Address,
    shared: Arc<Shared>,
}

enum Address {
    /// A second socket, which never listens, keeps the port bound while the peer does not listen.
    Tcp {
        address: SocketAddr,
        _held: OwnedFd,
    },
    Unix(PathBuf),
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    behaviour: Behaviour,
    received: Vec<Received>,
    flooded: usize,
    connections: usize,
    listener: Option<Listener>,
    open: Vec<Stream>,
}

impl Peer {
    /// An HTTP daemon on a free port of the loopback, listening.
    pub(crate) fn http() -> Self {
        let peer = Self::http_absent();
        peer.appear();
        peer
    }

    /// The same, but it listens only after [`Peer::appear`].
    pub(crate) fn http_absent() -> Self {
        let (held, address) = hold_port();
        Self::at(Address::Tcp { address, _held: held })
    }

    /// A daemon on a Unix socket, listening.
    pub(crate) fn socket(path: &Path) -> Self {
        let peer = Self::at(Address::Unix(path.to_owned()));
        peer.appear();
        peer
    }

    fn at(address: Address) -> Self {
        let inner = Inner {
            behaviour: Behaviour::Acknowledge,
            received: Vec::new(),
            flooded: 0,
            connections: 0,
            listener: None,
            open: Vec::new(),
        };
        Self { address, shared: Arc::new(Shared { inner: Mutex::new(inner), changed: Condvar::new() }) }
    }

    /// Starts to listen, on the same address each time.
    pub(crate) fn appear(&self) {
        let listener = match &self.address {
            Address::Tcp { address, .. } => Listener::Tcp(TcpListener::bind(address).unwrap()),
            Address::Unix(path) => {
                let _ = std::fs::remove_file(path);
                Listener::Unix(UnixListener::bind(path).unwrap())
            }
        };
        self.shared.lock().listener = Some(listener.try_clone());
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            while let Ok(stream) = listener.accept() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
    }

    /// Closes the listener and all connections, as if the process had been killed.
    pub(crate) fn vanish(&self) {
        if let Some(listener) = self.shared.lock().listener.take() {
            listener.shut();
        }
        self.hang_up();
    }

    /// Closes the connections and keeps listening.
    pub(crate) fn hang_up(&self) {
        let open = std::mem::take(&mut self.shared.lock().open);
        open.iter().for_each(Stream::shut);
    }

    /// Sends unsolicited bytes on every open connection.
    pub(crate) fn send_unsolicited(&self, bytes: &[u8]) {
        self.shared.lock().open.iter().for_each(|mut stream| stream.write_all(bytes).unwrap());
    }

    /// Sets the behaviour, for open connections too.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().behaviour = behaviour;
        self.shared.changed.notify_all();
    }

    /// The URL for heartbeats.
    pub(crate) fn url(&self) -> String {
        match &self.address {
            Address::Tcp { address, .. } => format!("http://{address}/heartbeat"),
            Address::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    /// All requests and lines received.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many bytes of [`Behaviour::Flood`] the agent has accepted.
    pub(crate) fn flooded(&self) -> usize {
        self.shared.lock().flooded
    }

    /// Waits until the received requests are as wanted.
    pub(crate) fn wait_until(&self, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let limit = Duration::from_secs(30);
        let waiting =
            self.shared.changed.wait_timeout_while(self.shared.lock(), limit, |inner| !wanted(&inner.received));
        let (inner, outcome) = waiting.unwrap();
        assert!(!outcome.timed_out(), "timed out; received: {:?}", inner.received);
        inner.received.clone()
    }
}

/// A loopback port that the kernel gives to no other socket while it is held. A listener can still bind it.
pub(crate) fn hold_port() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&held, true).unwrap();
    bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::try_from(getsockname(&held).unwrap()).unwrap();
    (held, address)
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A thread that waits for a change of behaviour finds its connection closed.
        self.behave(Behaviour::CloseOnAccept);
        self.vanish();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}
