//! The other end of a TLS connection: blocking, on rustls, and controlled by the test.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring::default_provider;
use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::http::DEADLINE;

/// A client that trusts one CA.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

/// A connection of a [`Client`].
pub(crate) type Wire = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    /// Trusts the CA in `directory`, and sends the certificate of that name, or none.
    pub(crate) fn new(directory: &Path, ca: &str, shows: Option<&str>) -> Self {
        let builder = ClientConfig::builder_with_provider(default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots(directory, ca));
        Self(Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = identity(directory, name);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }))
    }

    /// A connection. The first read or write makes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr, name: &'static str) -> Wire {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        self.over(stream, name)
    }

    /// TLS over an open connection.
    pub(crate) fn over(&self, stream: TcpStream, name: &'static str) -> Wire {
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.0), name.try_into().unwrap()).unwrap(), stream)
    }

    /// The bytes with which a handshake begins.
    pub(crate) fn hello(&self, name: &'static str) -> Vec<u8> {
        let mut hello = Vec::new();
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name.try_into().unwrap()).unwrap();
        connection.write_tls(&mut hello).unwrap();
        hello
    }

    /// Sends one request on its own connection, and returns status and body.
    pub(crate) fn ask(&self, address: SocketAddr, method: &str, path: &str) -> io::Result<(u16, String)> {
        ask_on(&mut self.connect(address, "localhost"), method, path)
    }
}

/// Sends one request on a connection, and reads its answer by its content length.
pub(crate) fn ask_on(wire: &mut Wire, method: &str, path: &str) -> io::Result<(u16, String)> {
    wire.write_all(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    wire.read_exact(&mut body)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, String::from_utf8(body).unwrap()))
}

/// The certificate that a server sends.
pub(crate) fn shown(wire: &mut Wire) -> Vec<u8> {
    while wire.conn.is_handshaking() {
        wire.conn.complete_io(&mut wire.sock).unwrap();
    }
    wire.conn.peer_certificates().unwrap()[0].to_vec()
}

/// The certificate in a file.
pub(crate) fn certificate(directory: &Path, name: &str) -> Vec<u8> {
    identity(directory, name).0[0].to_vec()
}

/// A daemon that receives heartbeats over TLS and acknowledges each.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Server {
    /// Sends the certificate of that name, and requires one of `client_ca`, if given. It listens until the test ends.
    pub(crate) fn start(directory: &Path, name: &str, client_ca: Option<&str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(server_config(directory, name, client_ca)));
        let shared = Arc::clone(&config);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let config = Arc::clone(&shared.lock().unwrap());
                std::thread::spawn(move || serve(stream, config));
            }
        });
        Self { address, config }
    }

    /// Changes the certificate from the next connection on.
    pub(crate) fn show(&self, directory: &Path, name: &str, client_ca: Option<&str>) {
        *self.config.lock().unwrap() = server_config(directory, name, client_ca);
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read => read,
        };
        received.extend_from_slice(&chunk[..read]);
        // A request of the agent ends with its only object, one of the daemon with its head.
        if received.ends_with(b"}") || received.ends_with(b"\r\n\r\n") && received.starts_with(b"GET ") {
            received.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")?;
        }
    }
}

fn server_config(directory: &Path, name: &str, client_ca: Option<&str>) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(roots(directory, ca));
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap(),
            )
        }
    };
    let (chain, key) = identity(directory, name);
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn roots(directory: &Path, ca: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join(format!("{ca}.pem"))).unwrap()).unwrap();
    roots
}

fn identity(directory: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = fs::read(directory.join(format!("{name}.pem"))).unwrap();
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap())
}
