//! The client of the daemon's socket, for the command line.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Async;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::Value;

use ops_http::client::is_unreachable;
use ops_protocol::jsonrpc::{self, Id, Outcome, Request, Response, RpcError};
use ops_runtime::clock::within;
use ops_runtime::paths::absolute;

/// The size limit of an answer, in bytes. It is enough for thousands of agents.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Sends one request to the daemon at `socket`, and waits up to `timeout` for the answer.
///
/// # Errors
///
/// [`ClientError`].
pub async fn call(socket: &Path, method: &str, params: Value, timeout: Duration) -> Result<Value, ClientError> {
    let timed_out = || Err(ClientError::TimedOut { socket: socket.to_owned(), timeout });
    within(timeout, exchange(socket, method, params)).await.unwrap_or_else(timed_out)
}

async fn exchange(socket: &Path, method: &str, params: Value) -> Result<Value, ClientError> {
    let closed = |source| ClientError::Closed { socket: socket.to_owned(), source };
    let malformed = |source| ClientError::Malformed { socket: socket.to_owned(), source };
    let stream = Async::<UnixStream>::connect(socket).await.map_err(|error| not_connected(socket, error))?;
    let request = jsonrpc::line(&Request::new(Id::Number(1), method.to_owned(), params)).map_err(malformed)?;
    (&stream).write_all(&request).await.map_err(closed)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(&stream).take(MAX_ANSWER);
    if reader.read_until(b'\n', &mut answer).await.map_err(closed)? == 0 {
        return Err(closed(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice::<Response>(&answer).map_err(malformed)?.outcome {
        Outcome::Result(result) => Ok(result),
        Outcome::Error(error) => Err(ClientError::Declined(error)),
    }
}

/// What a failed connection means.
pub(crate) fn not_connected(socket: &Path, source: io::Error) -> ClientError {
    let socket = socket.to_owned();
    if is_unreachable(source.kind()) {
        ClientError::NotRunning(absolute(&socket))
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        ClientError::NotPermitted { socket, source }
    } else {
        ClientError::NotConnected { socket, source }
    }
}

/// Why a request to the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon is running at this socket.
    #[error("no daemon listens at {}: start it, or give its configuration (--config) or socket (--socket)", .0.display())]
    NotRunning(PathBuf),
    /// The user may not open the socket.
    #[error("this user may not open {}: run the command as root or as the daemon's user", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
        /// Why no connection came about.
        source: io::Error,
    },
    /// The connection failed for another reason.
    #[error("cannot connect to {}", socket.display())]
    NotConnected {
        /// The socket.
        socket: PathBuf,
        /// Why no connection came about.
        source: io::Error,
    },
    /// The connection ended before the answer.
    #[error("the daemon at {} closed the connection: see its log", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
        /// How it ended.
        source: io::Error,
    },
    /// The answer is not JSON-RPC.
    #[error("the program at {} does not answer like this daemon: check `socket_path`", socket.display())]
    Malformed {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
    /// The answer did not come in time.
    #[error("the daemon at {} did not answer within {timeout:?}: see its log", socket.display())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The time limit.
        timeout: Duration,
    },
    /// The daemon answered with an error.
    #[error("{}", .0.message)]
    Declined(RpcError),
}
