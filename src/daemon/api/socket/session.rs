//! One connection: reads lines and answers them in batches.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt as _, future, ready};

use super::{BATCH, ConnSlot, Host, SocketPeer, dispatch};
use crate::daemon::control::ControlApi;
use ops_protocol::jsonrpc::{MAX_LINE, Response, RpcError, line};
use ops_protocol::{ApiError, ErrorCode};
use ops_runtime::clock::{self, within};

/// The maximum time between two lines. Agents send heartbeats more often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The maximum time from the first byte of a line to its last.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum time for the peer to read one batch of answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of bytes at which a batch of answers is sent, because one line can request a large answer.
const BATCH_BYTES: usize = 256 * 1024;

/// Serves a connection until it ends.
pub async fn run<S, D>(stream: S, slot: ConnSlot<D>, peer: SocketPeer)
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: ControlApi,
{
    let mut session = Session { stream, peer, input: Vec::new(), line_begun: None };
    // An error means that the connection is over, so no peer is left to report it to.
    let _ = session.serve(&slot.host).await;
}

/// Refuses a connection for which there is no slot. Tries one write and does not wait.
pub(super) fn refuse(stream: &Async<UnixStream>) {
    let refusal =
        Response::failure(None, ApiError::new(ErrorCode::Unavailable, "too many connections: try again later").into());
    if let Ok(line) = line(&refusal) {
        let _ = stream.get_ref().write(&line);
    }
}

struct Session<S> {
    stream: S,
    peer: SocketPeer,
    /// Bytes that are received and not answered yet.
    input: Vec<u8>,
    /// When the incomplete line began.
    line_begun: Option<Duration>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn serve<D: ControlApi>(&mut self, host: &Host<D>) -> io::Result<()> {
        while self.read(host).await? > 0 {
            while self.answer(host).await? {}
            if self.input.len() > MAX_LINE {
                return self.send(too_long()).await;
            }
            // A peer that sends without a pause must not starve the others.
            future::yield_now().await;
        }
        Ok(())
    }

    async fn read<D>(&mut self, host: &Host<D>) -> io::Result<usize> {
        let left = self
            .line_begun
            .map_or(IDLE_TIMEOUT, |begun| LINE_TIMEOUT.saturating_sub(clock::monotonic().saturating_sub(begun)));
        let Self { stream, input, .. } = self;
        let reading = poll_fn(|cx| {
            let mut scratch = host.scratch.borrow_mut();
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut scratch))?;
            input.extend_from_slice(scratch.get(..read).unwrap_or_default());
            Poll::Ready(Ok(read))
        });
        within(left, reading).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Answers complete lines in one write. Returns whether more complete lines are waiting.
    async fn answer<D: ControlApi>(&mut self, host: &Host<D>) -> io::Result<bool> {
        let (mut out, mut done) = (Vec::new(), 0);
        while out.len() < BATCH_BYTES
            && let Some(line) = next_line(&self.input, done)
        {
            done += line.len() + 1;
            if line.len() > MAX_LINE {
                out.append(&mut too_long());
                self.send(out).await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some(deferred) = dispatch::answer(host, self.peer, line, &mut out) {
                deferred.answer(host, &mut out).await;
            }
        }
        self.discard(done);
        if !out.is_empty() {
            self.send(out).await?;
        }
        Ok(next_line(&self.input, 0).is_some())
    }

    fn discard(&mut self, done: usize) {
        self.input.drain(..done);
        if self.input.is_empty() {
            // An idle connection keeps no buffer.
            self.line_begun = None;
            self.input = Vec::new();
        } else if done > 0 || self.line_begun.is_none() {
            self.line_begun = Some(clock::monotonic());
        }
    }

    async fn send(&mut self, answers: Vec<u8>) -> io::Result<()> {
        within(WRITE_TIMEOUT, self.stream.write_all(&answers))
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The line that begins at `from`, if it is complete.
fn next_line(input: &[u8], from: usize) -> Option<&[u8]> {
    let rest = input.get(from..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    rest.get(..end)
}

fn too_long() -> Vec<u8> {
    let error = RpcError::new(
        RpcError::INVALID_REQUEST,
        format!("the line is longer than {MAX_LINE} bytes: send a shorter one"),
    );
    line(&Response::failure(None, error)).unwrap_or_default()
}

const _: () = assert!(BATCH >= MAX_LINE, "one read can return a whole line");
