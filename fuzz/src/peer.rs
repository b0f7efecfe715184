//! A peer in memory: it says what the input holds, in the pieces and with the habits that the input gives it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, future};
use smol::channel::{Receiver, Sender, bounded};

/// A connection that goes on for so long after its peer has said all waits for a deadline, or for ever.
const PATIENCE: Duration = Duration::from_secs(8);

/// There is nothing to read before each piece, and no room before each write: the server has to wait and be woken.
const PAUSES: u8 = 1;
/// Having said all, it takes no more.
const LEAVES: u8 = 2;
/// It ends with a reset.
const RESETS: u8 = 4;

/// How a peer behaves: the first six bytes of an input.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// How many bytes come at once, round and round; 0 is all the rest.
    pieces: [u8; 4],
    /// How many bytes it takes at once; 0 is all.
    takes: u8,
    /// Of [`PAUSES`], [`LEAVES`], [`RESETS`]; the others are the target's.
    habits: u8,
}

impl Manner {
    /// The manner and what is said; `None` for an input that has no room for both.
    pub(super) fn of(input: &[u8]) -> Option<(Self, &[u8])> {
        let ([a, b, c, d, takes, habits], said) = input.split_first_chunk()?;
        Some((Self { pieces: [*a, *b, *c, *d], takes: *takes, habits: *habits }, said))
    }

    pub(super) const fn has(self, habit: u8) -> bool {
        self.habits & habit != 0
    }

    /// The same peer, who says and takes all at once. What is answered must be the same.
    pub(super) const fn in_one_piece(self) -> Self {
        Self { pieces: [0; 4], takes: 0, habits: self.habits & !PAUSES }
    }

    /// Whether it takes all answers: only then they can be held to anything.
    pub(super) const fn stays(self) -> bool {
        !self.has(LEAVES | RESETS)
    }
}

/// What a peer has heard, for whoever judges it.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Rc<RefCell<Vec<u8>>>,
    end: Receiver<()>,
}

impl Ear {
    /// Waits until the server has let go of the stream, and returns all that it has said.
    pub(super) async fn all(self) -> Vec<u8> {
        let ended = async { self.end.recv().await.is_err() };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            false
        };
        assert!(future::or(ended, late).await, "the peer has said all, and the connection does not end");
        self.heard.take()
    }
}

/// The server's end of the stream.
#[derive(Debug)]
pub(super) struct Stream {
    manner: Manner,
    said: Vec<u8>,
    at: usize,
    /// What is left of the piece that is being read, and how many came before.
    piece: usize,
    pieces: usize,
    has_paused: bool,
    is_closed: bool,
    heard: Rc<RefCell<Vec<u8>>>,
    /// Dropped with the stream, which is what the ear hears.
    _end: Sender<()>,
}

/// A peer who says this.
pub(super) fn peer(manner: Manner, said: &[u8]) -> (Stream, Ear) {
    let heard = Rc::new(RefCell::default());
    let (_end, end) = bounded(1);
    let ear = Ear { heard: Rc::clone(&heard), end };
    let (has_paused, is_closed) = (false, false);
    (Stream { manner, said: said.to_vec(), at: 0, piece: 0, pieces: 0, has_paused, is_closed, heard, _end }, ear)
}

impl Stream {
    fn left(&self) -> usize {
        self.said.len() - self.at
    }

    /// Whether the server has to wait this time.
    fn pauses(&mut self, cx: &Context<'_>) -> bool {
        self.has_paused = self.manner.has(PAUSES) && !self.has_paused;
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
            let length = usize::from(self.manner.pieces[self.pieces % 4]);
            self.pieces += 1;
            self.piece = if length == 0 { self.left() } else { length.min(self.left()) };
        }
        if self.left() == 0 && self.manner.has(RESETS) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let length = self.piece.min(buf.len());
        buf[..length].copy_from_slice(&self.said[self.at..self.at + length]);
        self.at += length;
        self.piece -= length;
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.is_closed, "the server writes on a stream that it has closed");
        if self.left() == 0 && self.manner.has(LEAVES | RESETS) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let most = if self.manner.takes == 0 { buf.len() } else { usize::from(self.manner.takes) };
        let taken = &buf[..most.min(buf.len())];
        self.heard.borrow_mut().extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closed = true;
        Poll::Ready(Ok(()))
    }
}
