//! The daemon's control socket from the other side, for the command line.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Async;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::Value;

use ops_http::client::is_unreachable;
use ops_protocol::jsonrpc::{self, Id, Outcome, Request, Response};
use ops_runtime::clock::within;

/// The longest answer that is read: thousands of agents with all that is known of them.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Asks the daemon at `socket` for one thing, and waits for the answer no longer than `limit`.
///
/// # Errors
///
/// [`ClientError`].
pub async fn call(socket: &Path, method: &str, params: Value, limit: Duration) -> Result<Value, ClientError> {
    let outcome = within(limit, exchange(socket, method, params)).await.unwrap_or(Err(Reason::Late(limit)));
    outcome.map_err(|reason| ClientError { socket: socket.to_owned(), reason })
}

async fn exchange(socket: &Path, method: &str, params: Value) -> Result<Value, Reason> {
    let stream = Async::<UnixStream>::connect(socket).await.map_err(Reason::Connect)?;
    let id = Id::Number(1);
    let request = jsonrpc::line(&Request::new(id.clone(), method.to_owned(), params));
    (&stream).write_all(&request.map_err(Reason::Garbled)?).await.map_err(Reason::Broken)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(&stream).take(MAX_ANSWER);
    if reader.read_until(b'\n', &mut answer).await.map_err(Reason::Broken)? == 0 {
        return Err(Reason::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice::<Response>(&answer).map_err(Reason::Garbled)?.outcome {
        Outcome::Result(result) => Ok(result),
        Outcome::Error(error) => Err(Reason::Declined(error)),
    }
}

/// The daemon did not do what it was asked.
#[derive(Debug)]
pub struct ClientError {
    socket: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Connect(io::Error),
    Broken(io::Error),
    Garbled(serde_json::Error),
    Late(Duration),
    Declined(jsonrpc::RpcError),
}

impl ClientError {
    /// Whether no daemon is running there.
    #[must_use]
    pub fn is_nobody_there(&self) -> bool {
        matches!(&self.reason, Reason::Connect(error) if is_unreachable(error.kind()))
    }

    /// What the daemon answered, if it answered.
    #[must_use]
    pub const fn declined(&self) -> Option<&jsonrpc::RpcError> {
        match &self.reason {
            Reason::Declined(error) => Some(error),
            Reason::Connect(_) | Reason::Broken(_) | Reason::Garbled(_) | Reason::Late(_) => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        match &self.reason {
            Reason::Connect(_) if self.is_nobody_there() => {
                write!(f, "no daemon answers at {socket}: start it, or name its configuration")
            }
            Reason::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "this user may not use {socket}: run the command as root or as the daemon's user")
            }
            Reason::Connect(_) => write!(f, "cannot connect to {socket}"),
            Reason::Broken(_) => write!(f, "the daemon at {socket} hung up: see its log"),
            Reason::Garbled(_) => write!(f, "what answers at {socket} is no daemon of this kind: check `socket_path`"),
            Reason::Late(limit) => write!(f, "the daemon at {socket} did not answer within {limit:?}: see its log"),
            Reason::Declined(error) => f.write_str(&error.message),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Connect(error) | Reason::Broken(error) => Some(error),
            Reason::Garbled(error) => Some(error),
            Reason::Late(_) | Reason::Declined(_) => None,
        }
    }
}
