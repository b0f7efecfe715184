//! The output of one agent as a stream of server-sent events: the last lines, then each new line.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::Stream;
use hyper::body::Bytes;
use serde_json::json;
use smol::lock::SemaphoreGuardArc;

use super::feed::{COMMENT, COMMENT_AFTER, event};
use crate::daemon::control::{ControlApi, Declined};
use crate::daemon::processes::{LogPosition, NewOutput};
use ops_runtime::clock;

/// The limit of open streams. Each reads a file twice a second.
pub(super) const STREAMS: usize = 64;

/// The time from one look at the log to the next.
const INTERVAL: Duration = Duration::from_millis(500);

type Looking = Pin<Box<dyn Future<Output = Result<NewOutput, Declined>>>>;

/// A stream of output, as the body of a response. It looks at the log only when its peer has taken what was found before.
pub(super) struct LogStream<D> {
    control: Rc<D>,
    id: String,
    /// The number of lines of the first look.
    lines: usize,
    position: Option<LogPosition>,
    step: Step,
    sent_at: Duration,
    /// Frees its place among the open streams when it is dropped.
    _place: SemaphoreGuardArc,
}

enum Step {
    Looking(Looking),
    Waiting(Timer),
    Ended,
}

impl<D: ControlApi> LogStream<D> {
    /// A stream that begins with the last `lines` lines. `place` is one of [`STREAMS`].
    pub(super) fn new(control: &Rc<D>, place: SemaphoreGuardArc, id: &str, lines: usize) -> Self {
        let (control, id) = (Rc::clone(control), id.to_owned());
        let step = Step::Looking(look(&control, &id, None, lines));
        Self { control, id, lines, position: None, step, sent_at: clock::monotonic(), _place: place }
    }

    fn found(&mut self, found: NewOutput) -> Option<Bytes> {
        let NewOutput { lines, skipped, next } = found;
        self.position = next;
        let now = clock::monotonic();
        let part = if !lines.is_empty() || skipped {
            event("output", &json!({ "lines": lines, "skipped": skipped }))
        } else if now.saturating_sub(self.sent_at) >= COMMENT_AFTER {
            COMMENT
        } else {
            return None;
        };
        self.sent_at = now;
        Some(part)
    }
}

fn look<D: ControlApi>(control: &Rc<D>, id: &str, position: Option<LogPosition>, lines: usize) -> Looking {
    let (control, id) = (Rc::clone(control), id.to_owned());
    Box::pin(async move { control.new_output(&id, position, lines).await })
}

impl<D: ControlApi> Stream for LogStream<D> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.step {
                Step::Ended => return Poll::Ready(None),
                Step::Waiting(timer) => {
                    ready!(Pin::new(timer).poll(cx));
                    let position = mem::take(&mut self.position);
                    self.step = Step::Looking(look(&self.control, &self.id, position, self.lines));
                }
                Step::Looking(looking) => match ready!(looking.as_mut().poll(cx)) {
                    Ok(found) => {
                        self.step = Step::Waiting(Timer::after(INTERVAL));
                        if let Some(part) = self.found(found) {
                            return Poll::Ready(Some(part));
                        }
                    }
                    Err(declined) => {
                        self.step = Step::Ended;
                        return Poll::Ready(Some(event("end", &json!({ "error": declined.to_string() }))));
                    }
                },
            }
        }
    }
}
