//! The body of a response: whole in memory, or a stream that is asked for its next part once the last one is sent.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::conn_state::{ConnState, Phase};

/// The body of a response.
pub enum ResponseBody {
    /// All of it is in memory.
    Whole(Bytes),
    /// It has no end that is known. The server asks for the next part when the peer has taken nearly all of the last one,
    /// so at most one part and a buffer of hyper wait for each peer.
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Stream(_) => f.debug_tuple("Stream").finish_non_exhaustive(),
        }
    }
}

/// The body as hyper sees it. It tells the connection what is sent.
pub(super) struct CountedBody {
    pub(super) body: ResponseBody,
    pub(super) conn_state: Rc<ConnState>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { body, conn_state } = &mut *self;
        let part = match body {
            ResponseBody::Whole(bytes) if bytes.is_empty() => None,
            ResponseBody::Whole(bytes) => Some(mem::take(bytes)),
            ResponseBody::Stream(parts) => match parts.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(part)) => {
                    conn_state.hold(part.len());
                    Some(part)
                }
                Poll::Ready(None) => {
                    // The next flush ends the response.
                    conn_state.enter(Phase::Writing);
                    None
                }
            },
        };
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, ResponseBody::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            ResponseBody::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ResponseBody::Stream(_) => SizeHint::default(),
        }
    }
}
