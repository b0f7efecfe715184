//! Raw bytes to an HTTP server and back, without a client library that would correct them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Long enough for any answer on any machine. Reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A raw answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The error code. Asserts that the body has the common shape of errors.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        json["code"].as_str().expect("a code").to_owned()
    }
}

/// A connection on which the test writes each byte.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self(stream)
    }

    /// Sends bytes. `false` if the peer has closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Closes the sending half.
    pub(crate) fn finish(&self) {
        self.0.shutdown(std::net::Shutdown::Write).expect("half a close");
    }

    /// The next answer. Its head gives the length of its body.
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_if_any().expect("an answer, not the end")
    }

    /// The next answer, or `None` if the server closes instead.
    pub(crate) fn reply_if_any(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let mut reply = Reply { status: status_of(&head), head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body that was announced");
        reply.body = String::from_utf8(body).expect("UTF-8");
        Some(reply)
    }

    /// The next head alone: for answers to HEAD and for `100 Continue`. `None` if the server closes instead.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => head.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        (!head.is_empty()).then(|| String::from_utf8(head).expect("ASCII"))
    }

    /// Reads on until this text has come, and returns what came until then.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let mut part = [0; 4096];
        loop {
            let so_far = String::from_utf8_lossy(&read);
            if so_far.contains(text) {
                return so_far.into_owned();
            }
            match self.0.read(&mut part) {
                Ok(0) => panic!("the end instead of {text:?} after {so_far}"),
                Ok(count) => read.extend_from_slice(&part[..count]),
                Err(error) => panic!("{error} instead of {text:?} after {so_far}"),
            }
        }
    }

    /// Waits until the server closes, and discards what it sent.
    #[allow(dead_code, reason = "a build without TLS has no use for it")]
    pub(crate) fn end(&mut self) -> usize {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {} bytes", rest.len()),
        }
        rest.len()
    }

    /// Waits until the server closes, and returns what it sent until then.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&rest)),
        }
        String::from_utf8(rest).expect("ASCII")
    }
}

/// One request on a connection of its own, and the first answer.
pub(crate) fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Reply {
    let mut wire = Wire::to(address);
    wire.send(bytes);
    wire.reply()
}

/// A plain request without a body. `headers` are whole lines.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    request_to_host("agent", address, method, path, headers)
}

/// The same, with this header `Host`.
pub(crate) fn request_to_host(host: &str, address: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    let mut wire = Wire::to(address);
    wire.send(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n"));
    if method != "HEAD" {
        return wire.reply();
    }
    let head = wire.head().expect("an answer");
    Reply { status: status_of(&head), head, body: wire.rest() }
}

/// A plain GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, "")
}

/// A free port for a program that does not report its port. The kernel does not assign it to other sockets.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(7) % u32::from(COUNT)).unwrap();
    let candidates = std::iter::repeat_with(|| {
        FIRST + ((u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT)) as u16
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.take(usize::from(COUNT)).find(is_free).expect("a free port")
}

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}
