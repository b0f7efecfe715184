//! One connection: lines in, answers out, a batch at a time.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt as _, future, ready};

use super::{BATCH, ConnSlot, Host, dispatch};
use crate::daemon::control::ControlApi;
use ops_protocol::jsonrpc::{MAX_LINE, Response, RpcError, line};
use ops_protocol::{ApiError, ErrorCode};
use ops_runtime::clock::{self, within};

/// How long a connection may be silent. An agent that keeps one for its heartbeats sends them more often.
const IDLE: Duration = Duration::from_secs(600);

/// From a line's first byte to its last.
const LINE: Duration = Duration::from_secs(10);

/// How long one batch of answers may take to be read.
const WRITE: Duration = Duration::from_secs(10);

/// How much may be said before it is sent: a line may ask for a lot.
const ANSWERS: usize = 256 * 1024;

/// Serves a connection until it ends. `may_control`: the peer may give commands and read logs.
pub async fn run<S, D>(stream: S, place: ConnSlot<D>, may_control: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: ControlApi,
{
    let mut session = Session { stream, may_control, input: Vec::new(), begun: None };
    // Whatever ends it, there is nobody left to be told.
    let _ = session.serve(&place.host).await;
}

/// One try to say why: there is no room to wait in.
pub(super) fn turn_away(stream: &Async<UnixStream>) {
    let no =
        Response::failure(None, ApiError::new(ErrorCode::Unavailable, "too many connections: try again later").into());
    if let Ok(line) = line(&no) {
        let _ = stream.get_ref().write(&line);
    }
}

struct Session<S> {
    stream: S,
    may_control: bool,
    /// What has come and is not answered.
    input: Vec<u8>,
    /// When the line that is not complete began.
    begun: Option<Duration>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn serve<D: ControlApi>(&mut self, host: &Host<D>) -> io::Result<()> {
        while self.read(host).await? > 0 {
            while self.answer(host).await? {}
            if self.input.len() > MAX_LINE {
                return self.say(too_long()).await;
            }
            // A peer that always has more to say is not the only one.
            future::yield_now().await;
        }
        Ok(())
    }

    async fn read<D>(&mut self, host: &Host<D>) -> io::Result<usize> {
        let left = self.begun.map_or(IDLE, |begun| LINE.saturating_sub(clock::monotonic().saturating_sub(begun)));
        let Self { stream, input, .. } = self;
        let reading = poll_fn(|cx| {
            let mut scratch = host.scratch.borrow_mut();
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut scratch))?;
            input.extend_from_slice(scratch.get(..read).unwrap_or_default());
            Poll::Ready(Ok(read))
        });
        within(left, reading).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Answers whole lines in one write, and says whether there are more of them.
    async fn answer<D: ControlApi>(&mut self, host: &Host<D>) -> io::Result<bool> {
        let (mut out, mut done) = (Vec::new(), 0);
        while out.len() < ANSWERS
            && let Some(line) = next_line(&self.input, done)
        {
            done += line.len() + 1;
            if line.len() > MAX_LINE {
                out.append(&mut too_long());
                self.say(out).await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some(slow) = dispatch::answer(host, self.may_control, line, &mut out) {
                slow.answer(host, &mut out).await;
            }
        }
        self.forget(done);
        if !out.is_empty() {
            self.say(out).await?;
        }
        Ok(next_line(&self.input, 0).is_some())
    }

    fn forget(&mut self, done: usize) {
        self.input.drain(..done);
        if self.input.is_empty() {
            // Nothing is kept for one that only listens.
            self.begun = None;
            self.input = Vec::new();
        } else if done > 0 || self.begun.is_none() {
            self.begun = Some(clock::monotonic());
        }
    }

    async fn say(&mut self, answers: Vec<u8>) -> io::Result<()> {
        within(WRITE, self.stream.write_all(&answers)).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The line that begins at `from`, if its end has come.
fn next_line(input: &[u8], from: usize) -> Option<&[u8]> {
    let rest = input.get(from..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    rest.get(..end)
}

fn too_long() -> Vec<u8> {
    let error =
        RpcError::new(RpcError::INVALID_REQUEST, format!("the line is longer than {MAX_LINE} bytes: send less"));
    line(&Response::failure(None, error)).unwrap_or_default()
}

const _: () = assert!(BATCH >= MAX_LINE, "a line may come at once");
