//! The way over a Unix socket.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use async_io::Async;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Deadline;
use super::failure::{Failure, Reason, Rejection, fit_for_a_line};
use ops_config::agent::{Framing, SocketConfig};
use ops_http::client::is_unreachable;
use ops_protocol::{heartbeat, heartbeat::Heartbeat, jsonrpc};
use ops_runtime::clock::within;

#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    framing: Framing,
    endpoint: String,
    /// A connection with nothing half-said on it.
    kept: Option<Async<UnixStream>>,
    requests: i64,
}

/// One line, and the id of its answer if there will be one.
struct Message {
    line: Vec<u8>,
    id: Option<jsonrpc::Id>,
}

impl Socket {
    pub(super) fn new(config: &SocketConfig) -> Self {
        let SocketConfig { path, framing } = config.clone();
        let endpoint = format!("unix://{}", path.display());
        Self { path, framing, endpoint, kept: None, requests: 0 }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) async fn send(&mut self, beat: &Heartbeat, deadline: Deadline) -> Result<(), Failure> {
        let outcome =
            within(deadline.left(), self.deliver(beat)).await.unwrap_or(Err(Reason::TimedOut(deadline.limit)));
        outcome.map_err(|reason| Failure::new(&self.endpoint, reason))
    }

    async fn deliver(&mut self, beat: &Heartbeat) -> Result<(), Reason> {
        let message = self.message(beat).map_err(|error| Reason::Unsupported(error.into()))?;
        if let Some(stream) = self.kept.take().filter(|stream| is_open(stream.get_ref(), self.framing)) {
            match self.say(stream, &message).await {
                // The daemon gave the connection up meanwhile, as it does when it is restarted.
                Err(Reason::Closed(_)) => {}
                outcome => return outcome,
            }
        }
        let stream = self.connect().await?;
        self.say(stream, &message).await
    }

    fn message(&mut self, beat: &Heartbeat) -> serde_json::Result<Message> {
        match self.framing {
            Framing::JsonLines => Ok(Message { line: jsonrpc::line(beat)?, id: None }),
            Framing::JsonRpc => {
                self.requests = self.requests.wrapping_add(1);
                let id = jsonrpc::Id::Number(self.requests);
                let request = jsonrpc::Request::new(id.clone(), heartbeat::METHOD, beat);
                Ok(Message { line: jsonrpc::line(&request)?, id: Some(id) })
            }
        }
    }

    async fn connect(&self) -> Result<Async<UnixStream>, Reason> {
        let stream = Async::<UnixStream>::connect(&self.path).await.map_err(|error| match error.kind() {
            kind if is_unreachable(kind) => Reason::Unreachable(error.into()),
            _ => Reason::NotConnected(error.into()),
        })?;
        if self.framing == Framing::JsonLines {
            // Nothing is ever answered, so the only sign of a daemon that no longer reads is that its lines stay in the
            // way. In the smallest buffer, which the kernel rounds up to, that shows after two lines, not hundreds.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 1);
        }
        Ok(stream)
    }

    async fn say(&mut self, stream: Async<UnixStream>, message: &Message) -> Result<(), Reason> {
        // Until there is room nothing is half-said. A daemon that does not read keeps its connection, since a new one
        // would have room, and make it look alive.
        let stream = self.kept.insert(stream);
        stream.writable().await.map_err(closed)?;
        let Some(mut stream) = self.kept.take() else { return Ok(()) };
        stream.write_all(&message.line).await.map_err(closed)?;
        let Some(id) = &message.id else {
            self.kept = Some(stream);
            return Ok(());
        };
        let answer = read_line(&mut stream).await?;
        let answer: jsonrpc::Response =
            serde_json::from_slice(&answer).map_err(|error| Reason::Garbled(error.into()))?;
        // Who cannot read a request cannot read its id either, and then answers without one.
        let is_unnamed_error = answer.id.is_none() && matches!(answer.outcome, jsonrpc::Outcome::Error(_));
        if answer.id.as_ref() != Some(id) && !is_unnamed_error {
            return Err(Reason::Garbled("the answer is to another request".into()));
        }
        self.kept = Some(stream);
        match answer.outcome {
            jsonrpc::Outcome::Result(_) => Ok(()),
            jsonrpc::Outcome::Error(error) => {
                let message = fit_for_a_line(&error.message);
                Err(Reason::Rejected(Rejection { code: error.code, message, retry_after: None }))
            }
        }
    }
}

/// Whether a kept connection may serve once more: the daemon has not closed it, nor said anything unasked.
///
/// Where nothing is ever asked, what it said is read and forgotten, lest it wait for us to read it.
fn is_open(mut stream: &UnixStream, framing: Framing) -> bool {
    let mut unasked = [0; 4096];
    for _ in 0..16 {
        match stream.read(&mut unasked) {
            Ok(0) => return false,
            Ok(_) if framing == Framing::JsonLines => {}
            Ok(_) => return false,
            Err(error) => return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
    false
}

async fn read_line(stream: &mut Async<UnixStream>) -> Result<Vec<u8>, Reason> {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let length = stream.read(&mut chunk).await.map_err(closed)?;
        let read = chunk.get(..length).unwrap_or_default();
        match read.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 == length => {
                line.extend_from_slice(read);
                return Ok(line);
            }
            Some(_) => return Err(Reason::Garbled("there is more than one answer".into())),
            None if length == 0 => return Err(closed(io::ErrorKind::UnexpectedEof.into())),
            None => line.extend_from_slice(read),
        }
        if line.len() > jsonrpc::MAX_LINE {
            return Err(Reason::Garbled("the answer's line does not end".into()));
        }
    }
}

fn closed(error: io::Error) -> Reason {
    Reason::Closed(error.into())
}
