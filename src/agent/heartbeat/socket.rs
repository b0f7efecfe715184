//! Heartbeats over a Unix socket.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use async_io::Async;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use serde::Serialize;

use super::failure::{Failure, Reason, Rejection, one_line};
use super::{Deadline, StartSecret, Transport};
use ops_config::agent::{Framing, SocketConfig};
use ops_http::client::is_unreachable;
use ops_protocol::heartbeat::{Heartbeat, METHOD};
use ops_protocol::jsonrpc;
use ops_runtime::clock::within;

#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    framing: Framing,
    endpoint: String,
    /// A connection without an unfinished request or response.
    kept: Option<Async<UnixStream>>,
    requests: i64,
    secret: Option<StartSecret>,
}

/// A heartbeat with the proof that this agent sent it.
#[derive(Serialize)]
struct Proved<'a> {
    #[serde(flatten)]
    heartbeat: &'a Heartbeat,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_secret: Option<&'a str>,
}

/// One line, and the id of the response if one is expected.
struct Message {
    line: Vec<u8>,
    id: Option<jsonrpc::Id>,
}

impl Socket {
    pub(super) fn new(config: &SocketConfig, secret: Option<StartSecret>) -> Self {
        let SocketConfig { path, framing } = config.clone();
        let endpoint = format!("unix://{}", path.display());
        Self { path, framing, endpoint, kept: None, requests: 0, secret }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) async fn send(&mut self, heartbeat: &Heartbeat, deadline: Deadline) -> Result<(), Failure> {
        let result =
            within(deadline.left(), self.deliver(heartbeat)).await.unwrap_or(Err(Reason::TimedOut(deadline.limit)));
        result.map_err(|reason| Failure::new(Transport::Socket, &self.endpoint, reason))
    }

    async fn deliver(&mut self, heartbeat: &Heartbeat) -> Result<(), Reason> {
        let message = self.message(heartbeat).map_err(|error| Reason::Unsupported(error.into()))?;
        if let Some(stream) = self.kept.take().filter(|stream| is_open(stream.get_ref(), self.framing)) {
            match self.exchange(stream, &message).await {
                // The daemon has closed the connection since, as it does at a restart.
                Err(Reason::Closed(_)) => {}
                result => return result,
            }
        }
        let stream = self.connect().await?;
        self.exchange(stream, &message).await
    }

    fn message(&mut self, heartbeat: &Heartbeat) -> serde_json::Result<Message> {
        let heartbeat = &Proved { heartbeat, start_secret: self.secret.as_ref().map(|secret| &*secret.0) };
        match self.framing {
            Framing::JsonLines => Ok(Message { line: jsonrpc::line(heartbeat)?, id: None }),
            Framing::JsonRpc => {
                self.requests = self.requests.wrapping_add(1);
                let id = jsonrpc::Id::Number(self.requests);
                let request = jsonrpc::Request::new(id.clone(), METHOD, heartbeat);
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
            // This framing has no responses. A daemon that does not read shows only by a full send buffer. In the smallest
            // buffer that the kernel allows, two lines fill it instead of hundreds.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 1);
        }
        Ok(stream)
    }

    async fn exchange(&mut self, stream: Async<UnixStream>, message: &Message) -> Result<(), Reason> {
        // The connection is kept while it waits for room, because nothing is written yet. A new connection to a daemon that
        // does not read would have room, and the daemon would look alive.
        let stream = self.kept.insert(stream);
        stream.writable().await.map_err(closed)?;
        let Some(mut stream) = self.kept.take() else { return Ok(()) };
        stream.write_all(&message.line).await.map_err(closed)?;
        let Some(id) = &message.id else {
            self.kept = Some(stream);
            return Ok(());
        };
        let line = read_line(&mut stream).await?;
        let response: jsonrpc::Response =
            serde_json::from_slice(&line).map_err(|error| Reason::InvalidResponse(error.into()))?;
        // A daemon that cannot parse a request does not know its id, and responds without one.
        let is_unnamed_error = response.id.is_none() && matches!(response.outcome, jsonrpc::Outcome::Error(_));
        if response.id.as_ref() != Some(id) && !is_unnamed_error {
            return Err(Reason::InvalidResponse("the response is for another request".into()));
        }
        self.kept = Some(stream);
        match response.outcome {
            jsonrpc::Outcome::Result(_) => Ok(()),
            jsonrpc::Outcome::Error(error) => {
                let message = one_line(&error.message);
                Err(Reason::Rejected(Rejection { code: error.code, message, retry_after: None }))
            }
        }
    }
}

/// Whether a kept connection can be used again: the daemon has not closed it, and has sent nothing that was not requested.
///
/// Without responses, everything that the daemon sends is read and discarded, so that it does not block on a full send
/// buffer.
fn is_open(mut stream: &UnixStream, framing: Framing) -> bool {
    let mut discarded = [0; 4096];
    for _ in 0..16 {
        match stream.read(&mut discarded) {
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
            Some(_) => return Err(Reason::InvalidResponse("there is more than one response".into())),
            None if length == 0 => return Err(closed(io::ErrorKind::UnexpectedEof.into())),
            None => line.extend_from_slice(read),
        }
        if line.len() > jsonrpc::MAX_LINE {
            return Err(Reason::InvalidResponse("the response line is too long".into()));
        }
    }
}

fn closed(error: io::Error) -> Reason {
    Reason::Closed(error.into())
}
