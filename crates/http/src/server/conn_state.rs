//! The state of one connection: its phase, when the phase began, and its deadline.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::head_scan::Heads;
use super::limits::ServerLimits;
use super::timer_queue::{Key, Timed, TimerQueue};
use crate::tls::ProtocolError;
use ops_runtime::clock;

/// How long the peer may read an error response before the connection is closed, even if it still sends data.
const LINGER: Duration = Duration::from_secs(1);

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted. No byte has arrived.
    New,
    /// The response is sent. The next request has not begun.
    Idle,
    /// A request has begun. Its head is not complete.
    Head,
    /// The head is complete. The body is not.
    Body,
    /// The handler has the request. While a request is handled the peer's timeout does not run.
    Handling,
    /// The response is being sent.
    Writing,
    /// The response is a stream, and all of it that exists is sent.
    Streaming,
    /// The response is a stream, and the peer does not read what is to be sent.
    StreamBlocked,
    /// An error response ends the connection. The peer has time to read it.
    Lingering,
}

/// Why the server closes a connection before its peer or hyper ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// Another connection needs its slot, or the server stops.
    Displaced,
    /// The peer took too long in this phase.
    Expired(Phase),
}

/// The state of one connection, shared between its task and the table of connections.
pub(super) struct ConnState {
    phase: Cell<Phase>,
    since: Cell<Duration>,
    closed: Cell<bool>,
    draining: Cell<bool>,
    refused: Cell<bool>,
    protocol_error: Cell<Option<ProtocolError>>,
    /// The size of the request body or response that is in memory for the peer, in bytes, and since when.
    held: Cell<(usize, Duration)>,
    heads: Cell<Heads>,
    task: RefCell<Option<Waker>>,
    timer_queue: Rc<TimerQueue<Self>>,
    /// The timer that is set for this connection.
    timer: Cell<Option<Key>>,
}

impl ConnState {
    pub(super) fn new(timer_queue: Rc<TimerQueue<Self>>) -> Self {
        Self {
            phase: Cell::new(Phase::New),
            since: Cell::new(clock::monotonic()),
            closed: Cell::new(false),
            draining: Cell::new(false),
            refused: Cell::new(false),
            protocol_error: Cell::new(None),
            held: Cell::default(),
            heads: Cell::default(),
            task: RefCell::new(None),
            timer_queue,
            timer: Cell::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase, or restarts its timeout. Handling time is not limited.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if phase != Phase::Handling {
            self.since.set(clock::monotonic());
        }
    }

    /// Records how many bytes of a body or a response are in memory for the peer.
    pub(super) fn hold(&self, bytes: usize) {
        let (before, since) = self.held.get();
        self.held.set((bytes, if before == 0 { clock::monotonic() } else { since }));
    }

    /// How many bytes are in memory for the peer, and since when.
    pub(super) fn held(&self) -> (usize, Duration) {
        self.held.get()
    }

    /// Reads or changes what is known of the heads that have arrived.
    pub(super) fn with_heads<T>(&self, action: impl FnOnce(&mut Heads) -> T) -> T {
        let mut heads = self.heads.get();
        let done = action(&mut heads);
        self.heads.set(heads);
        done
    }

    /// Whether no request is complete. Whatever hyper writes in this state answers no request.
    pub(super) fn has_no_request(&self) -> bool {
        matches!(self.phase.get(), Phase::New | Phase::Idle | Phase::Head)
    }

    /// Since when the server waits for the peer. `None` while the peer waits for the server.
    pub(super) fn waiting_since(&self) -> Option<Duration> {
        (!matches!(self.phase.get(), Phase::Handling | Phase::Streaming)).then(|| self.since.get())
    }

    /// Whether the peer is to read what is in memory for it.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.phase.get(), Phase::Writing | Phase::StreamBlocked)
    }

    /// A write to the peer has made progress, or has to wait for the peer.
    pub(super) fn wrote(&self, progress: bool) {
        if self.phase.get() == Phase::Streaming && !progress {
            self.enter(Phase::StreamBlocked);
        } else if self.phase.get() == Phase::StreamBlocked && progress {
            self.enter(Phase::Streaming);
        }
    }

    /// Whether a request has been accepted and its response is not complete. A stream has no end to wait for.
    pub(super) fn has_pending_response(&self) -> bool {
        matches!(self.phase.get(), Phase::Handling | Phase::Writing)
    }

    /// Records that the last request gets an error response from the server.
    pub(super) fn mark_refused(&self) {
        self.refused.set(true);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Records why no request can come.
    pub(super) fn set_protocol_error(&self, error: ProtocolError) {
        self.protocol_error.set(Some(error));
    }

    pub(super) fn protocol_error(&self) -> Option<ProtocolError> {
        self.protocol_error.get()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Closes the connection after its pending response.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Closes the connection now.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// Polls `work` until it is done, the connection is closed, or its phase has timed out.
    pub(super) async fn watch<T>(
        self: &Rc<Self>,
        limits: &ServerLimits,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, CloseReason> {
        poll_fn(|cx| {
            self.store_waker(cx.waker());
            if self.closed.get() {
                return Poll::Ready(Err(CloseReason::Displaced));
            }
            if let Poll::Ready(done) = work(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.is_late(limits) { Poll::Ready(Err(CloseReason::Expired(self.phase.get()))) } else { Poll::Pending }
        })
        .await
    }

    /// Whether the phase has timed out. If not, a timer is set for the deadline. A timer that is set already is
    /// replaced only if the deadline is earlier. A later deadline, as with each request on a kept-alive connection,
    /// costs nothing: the timer fires early, and the connection sets a new one.
    fn is_late(self: &Rc<Self>, limits: &ServerLimits) -> bool {
        let Some(due) = self.deadline(limits) else { return false };
        if self.timer.get().is_some_and(|(at, _)| at <= due) {
            return false;
        }
        self.cancel_timer();
        let late = clock::monotonic() >= due;
        if !late {
            self.timer.set(Some(self.timer_queue.insert(due, Rc::clone(self))));
        }
        late
    }

    /// Removes the timer.
    pub(super) fn cancel_timer(&self) {
        if let Some(key) = self.timer.take() {
            self.timer_queue.remove(key);
        }
    }

    fn deadline(&self, limits: &ServerLimits) -> Option<Duration> {
        let limit = match self.phase.get() {
            Phase::New | Phase::Head => limits.head_timeout,
            Phase::Idle => limits.idle_timeout,
            Phase::Body => limits.body_timeout,
            Phase::Writing | Phase::StreamBlocked => limits.write_timeout,
            Phase::Lingering => LINGER,
            Phase::Handling | Phase::Streaming => return None,
        };
        Some(self.since.get() + limit)
    }

    fn store_waker(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        match &mut *task {
            Some(known) => known.clone_from(waker),
            None => *task = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

impl Timed for ConnState {
    fn fire(&self) {
        self.timer.set(None);
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deadline_leaves_the_timer_alone_and_the_end_removes_it() {
        let conn_state = Rc::new(ConnState::new(Rc::default()));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let limits = ServerLimits { head_timeout: hours(1), idle_timeout: hours(2), ..ServerLimits::default() };
        let mut polls = 0;
        let watched = smol::block_on(conn_state.watch(&limits, |cx| {
            polls += 1;
            conn_state.enter(Phase::Idle);
            cx.waker().wake_by_ref();
            if polls > 10 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let number = conn_state.timer.get().map(|(_, number)| number);
        assert_eq!((watched, number), (Ok(()), Some(0)), "the first timer is still set");
        assert_eq!(Rc::strong_count(&conn_state), 2, "the queue has the connection");
        conn_state.cancel_timer();
        assert_eq!(Rc::strong_count(&conn_state), 1, "the queue has nothing");
    }

    #[test]
    fn a_stream_has_a_deadline_only_while_its_peer_does_not_read() {
        let (conn_state, limits) = (ConnState::new(Rc::default()), ServerLimits::default());
        let state = |conn_state: &ConnState| {
            (conn_state.deadline(&limits).is_some(), conn_state.waiting_since().is_some(), conn_state.is_sending())
        };
        conn_state.enter(Phase::Streaming);
        assert_eq!(state(&conn_state), (false, false, false));
        conn_state.wrote(false);
        assert_eq!(state(&conn_state), (true, true, true));
        conn_state.wrote(true);
        assert_eq!(state(&conn_state), (false, false, false));
        assert!(!conn_state.has_pending_response(), "a drain does not wait for it");
    }

    #[test]
    fn a_phase_that_lasts_too_long_ends_the_connection() {
        let timer_queue = Rc::<TimerQueue<ConnState>>::default();
        let conn_state = Rc::new(ConnState::new(Rc::clone(&timer_queue)));
        let limits = ServerLimits { head_timeout: Duration::from_millis(1), ..ServerLimits::default() };
        let watched = async { conn_state.watch(&limits, |_| Poll::<()>::Pending).await };
        let firing = async {
            timer_queue.run().await;
            Ok(())
        };
        let ended = smol::block_on(futures_lite::future::or(watched, firing));
        assert_eq!(ended, Err(CloseReason::Expired(Phase::New)));
    }
}
