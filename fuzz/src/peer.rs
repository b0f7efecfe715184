//! A peer in memory. The input says what it sends, in which pieces, and how it behaves.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, future};
use smol::channel::{Receiver, Sender, bounded};

/// A connection that does not end for so long after its peer has sent everything waits for a deadline, or without end.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// No data is ready before each piece, and no space before each write: the server has to wait for a wake-up.
const PAUSES: u8 = 1;
/// After it has sent everything, it reads no more.
const STOPS_READING: u8 = 2;
/// It ends the connection with a reset.
const RESETS: u8 = 4;

/// How a peer behaves: the first six bytes of an input.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behavior {
    /// How many bytes it sends at once, in rotation; 0 is all that is left.
    pieces: [u8; 4],
    /// How many bytes it reads at once; 0 is all.
    reads: u8,
    /// [`PAUSES`], [`STOPS_READING`] and [`RESETS`]. The other bits belong to the target.
    flags: u8,
}

impl Behavior {
    /// Splits an input into the behavior and what the peer sends. `None` if the input is too short.
    pub(super) fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let ([a, b, c, d, reads, flags], sent) = input.split_first_chunk()?;
        Some((Self { pieces: [*a, *b, *c, *d], reads: *reads, flags: *flags }, sent))
    }

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The same peer, which sends and reads everything at once. The answers must be the same.
    pub(super) const fn in_one_piece(self) -> Self {
        Self { pieces: [0; 4], reads: 0, flags: self.flags & !PAUSES }
    }

    /// Whether it reads all answers. Only then are they complete.
    pub(super) const fn reads_all(self) -> bool {
        !self.has(STOPS_READING | RESETS)
    }
}

/// What the server has sent to the peer.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Rc<RefCell<Vec<u8>>>,
    end: Receiver<()>,
}

impl Received {
    /// Waits until the server has dropped the stream, and returns everything that it has sent.
    pub(super) async fn all(self) -> Vec<u8> {
        let ended = async { self.end.recv().await.is_err() };
        let late = async {
            smol::Timer::after(END_TIMEOUT).await;
            false
        };
        assert!(future::or(ended, late).await, "the peer has sent everything, and the connection does not end");
        self.bytes.take()
    }
}

/// The server's end of the stream.
#[derive(Debug)]
pub(super) struct Stream {
    behavior: Behavior,
    /// What the peer sends.
    sent: Vec<u8>,
    at: usize,
    /// What is left of the current piece, and the number of pieces before it.
    piece: usize,
    pieces: usize,
    has_paused: bool,
    is_closed: bool,
    received: Rc<RefCell<Vec<u8>>>,
    /// Dropped with the stream, which ends [`Received::all`].
    _end: Sender<()>,
}

/// A peer that sends these bytes.
pub(super) fn peer(behavior: Behavior, sent: &[u8]) -> (Stream, Received) {
    let received = Rc::new(RefCell::default());
    let (_end, end) = bounded(1);
    let output = Received { bytes: Rc::clone(&received), end };
    let (has_paused, is_closed) = (false, false);
    let sent = sent.to_vec();
    (Stream { behavior, sent, at: 0, piece: 0, pieces: 0, has_paused, is_closed, received, _end }, output)
}

impl Stream {
    fn left(&self) -> usize {
        self.sent.len() - self.at
    }

    /// Whether the server has to wait this time.
    fn pauses(&mut self, cx: &Context<'_>) -> bool {
        self.has_paused = self.behavior.has(PAUSES) && !self.has_paused;
        if self.has_paused {
            cx.waker().wake_by_ref();
        }
        self.has_paused
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.piece == 0 {
            if self.pauses(cx) {
                return Poll::Pending;
            }
            let length = usize::from(self.behavior.pieces[self.pieces % 4]);
            self.pieces += 1;
            self.piece = if length == 0 { self.left() } else { length.min(self.left()) };
        }
        if self.left() == 0 && self.behavior.has(RESETS) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let length = self.piece.min(buf.len());
        buf[..length].copy_from_slice(&self.sent[self.at..self.at + length]);
        self.at += length;
        self.piece -= length;
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.is_closed, "the server writes on a stream that it has closed");
        if self.left() == 0 && self.behavior.has(STOPS_READING | RESETS) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let most = if self.behavior.reads == 0 { buf.len() } else { usize::from(self.behavior.reads) };
        let read = &buf[..most.min(buf.len())];
        self.received.borrow_mut().extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closed = true;
        Poll::Ready(Ok(()))
    }
}
