//! One stream of `GET /events`: the whole state once, then the changes.

use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::{Future as _, Stream};
use hyper::body::Bytes;
use serde_json::json;

use super::{Feed, PART_BYTES, SLICE, event};
use crate::daemon::control::ControlApi;
use crate::daemon::registry::AgentId;
use ops_runtime::clock;

/// The time without an event after which a comment is sent, so that both sides notice that the other one has gone.
pub(in crate::daemon::api) const COMMENT_AFTER: Duration = Duration::from_secs(15);

/// The comment.
pub(in crate::daemon::api) const COMMENT: Bytes = Bytes::from_static(b": the daemon is alive\n\n");

/// A stream of events, as the body of a response.
#[derive(Debug)]
pub(in crate::daemon::api) struct EventStream<D: ControlApi> {
    feed: Rc<Feed<D>>,
    /// The agents that are not sent yet, in reverse order. `None`: all are sent, and so is the event that says so.
    rest: Option<Vec<AgentId>>,
    greeted: bool,
    /// The number of events that are sent, or were made before the stream began.
    seen: u64,
    sent_at: Duration,
    /// The last turn of the loop has returned a part, so other tasks come first.
    yields: bool,
    timer: Timer,
}

impl<D: ControlApi> EventStream<D> {
    pub(super) fn new(feed: Rc<Feed<D>>, mut ids: Vec<AgentId>, seen: u64) -> Self {
        ids.reverse();
        let sent_at = clock::monotonic();
        Self { feed, rest: Some(ids), greeted: false, seen, sent_at, yields: false, timer: Timer::never() }
    }

    /// The next part of the whole state. `None`: it is sent.
    fn next_of_state(&mut self, now: Duration) -> Option<Bytes> {
        let rest = self.rest.as_mut()?;
        if !mem::replace(&mut self.greeted, true) {
            return Some(self.feed.hello(rest.len()));
        }
        if rest.is_empty() {
            self.rest = None;
            return Some(event("complete", &json!({})));
        }
        let mut part = Vec::new();
        let state = &mut *self.feed.state.borrow_mut();
        for _ in 0..SLICE {
            if part.len() >= PART_BYTES {
                break;
            }
            let Some(id) = rest.pop() else { break };
            // An agent that was removed meanwhile is announced as gone.
            part.extend(self.feed.look(state, &id, now).iter().flat_map(super::Row::whole));
        }
        Some(part.into())
    }
}

impl<D: ControlApi> Stream for EventStream<D> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let now = clock::monotonic();
            if let Some(part) = self.next_of_state(now) {
                self.sent_at = now;
                self.yields = true;
                return Poll::Ready(Some(part));
            }
            let due = self.feed.advance(now);
            let news = self.feed.state.borrow().after(self.seen);
            let Some((part, seen)) = news else {
                tracing::warn!("a stream of events is closed: its reader is too slow");
                return Poll::Ready(None);
            };
            self.seen = seen;
            let comment_at = self.sent_at + COMMENT_AFTER;
            if !part.is_empty() || now >= comment_at {
                self.sent_at = now;
                self.yields = true;
                return Poll::Ready(Some(if part.is_empty() { COMMENT } else { part.into() }));
            }
            self.timer.set_after(due.min(comment_at).saturating_sub(now));
            ready!(Pin::new(&mut self.timer).poll(cx));
        }
    }
}

impl<D: ControlApi> Drop for EventStream<D> {
    fn drop(&mut self) {
        self.feed.close();
    }
}
