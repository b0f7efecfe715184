//! Gives way to other tasks after a bounded amount of input.
//!
//! hyper reads on while input is there: after an informational response, and in the size line of a chunk. A peer that
//! sends such input without end would hold the event loop.

use std::io;
use std::task::{Context, Poll};

/// How many bytes one connection reads before other tasks run.
const MAX_BYTES: usize = 64 * 1024;

/// Counts the bytes that a stream has read since other tasks ran.
#[derive(Debug, Default)]
pub(crate) struct ReadTurn {
    bytes: usize,
}

impl ReadTurn {
    /// Reads, or is pending once with the task woken.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes >= MAX_BYTES {
            self.bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let result = read(cx);
        match &result {
            Poll::Ready(read) => self.bytes += read.as_ref().copied().unwrap_or_default(),
            Poll::Pending => self.bytes = 0,
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_peer_that_always_has_more_gives_way() {
        let mut turn = ReadTurn::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut polls = |turn: &mut ReadTurn| {
            (0..100).take_while(|_| turn.poll(&mut cx, |_| Poll::Ready(Ok(MAX_BYTES / 4))).is_ready()).count()
        };
        assert_eq!(polls(&mut turn), 4);
        assert_eq!(polls(&mut turn), 4, "the next turn has its own count");
    }

    #[test]
    fn a_wait_for_input_begins_a_new_turn() {
        let mut turn = ReadTurn::default();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(turn.poll(&mut cx, |_| Poll::Ready(Ok(MAX_BYTES - 1))).is_ready());
            assert!(turn.poll(&mut cx, |_| Poll::Pending).is_pending());
        }
        assert!(turn.poll(&mut cx, |_| Poll::Ready(Ok(1))).is_ready());
    }
}
