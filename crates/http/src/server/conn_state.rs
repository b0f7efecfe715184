//! What one connection is waiting for, since when, and until when it may.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::ServerLimits;
use super::timer_queue::{Key, TimerQueue};
use crate::tls::Unusable;
use ops_runtime::clock;

/// How long the peer has, after a refusal, to read it before the connection is closed over what it still sends.
const LINGER: Duration = Duration::from_secs(1);

/// Where a connection is in the exchange of requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Just accepted, not a byte yet.
    New,
    /// The answer is out; the next request has not begun.
    Idle,
    /// A request has begun, its head is not complete.
    Head,
    /// The head is complete, the body is not.
    Body,
    /// The request is with the handler. The only phase in which the peer is owed time, not we.
    Handling,
    /// The answer is on its way.
    Writing,
    /// Refused; the peer is given time to read why.
    Lingering,
}

/// Why a connection ends before its peer or hyper ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// Somebody needs its place, or the server ends.
    Displaced,
    /// The peer took too long in this phase.
    Expired(Phase),
}

/// The pulse of one connection, shared between its task and the table of all connections.
pub(super) struct ConnState {
    phase: Cell<Phase>,
    since: Cell<Duration>,
    cut: Cell<bool>,
    draining: Cell<bool>,
    refused: Cell<bool>,
    unusable: Cell<Option<Unusable>>,
    task: RefCell<Option<Waker>>,
    timer_queue: Rc<TimerQueue>,
    /// The one of them that is set for it.
    alarm: Cell<Option<Key>>,
}

impl ConnState {
    pub(super) fn new(timer_queue: Rc<TimerQueue>) -> Self {
        Self {
            phase: Cell::new(Phase::New),
            since: Cell::new(clock::monotonic()),
            cut: Cell::new(false),
            draining: Cell::new(false),
            refused: Cell::new(false),
            unusable: Cell::new(None),
            task: RefCell::new(None),
            timer_queue,
            alarm: Cell::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase, or begins it anew. How long handling takes, nobody asks.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if phase != Phase::Handling {
            self.since.set(clock::monotonic());
        }
    }

    /// Whether no request is known: what hyper writes now, it writes of its own accord.
    pub(super) fn nothing_asked(&self) -> bool {
        matches!(self.phase.get(), Phase::New | Phase::Idle | Phase::Head)
    }

    /// Since when the peer keeps us waiting. `None` while it is the peer who waits.
    pub(super) fn waiting_since(&self) -> Option<Duration> {
        (self.phase.get() != Phase::Handling).then(|| self.since.get())
    }

    /// Whether a request has been taken that is not answered in full.
    pub(super) fn owes_an_answer(&self) -> bool {
        matches!(self.phase.get(), Phase::Handling | Phase::Writing)
    }

    /// Notes that the last request is answered with a refusal.
    pub(super) fn refuse(&self) {
        self.refused.set(true);
    }

    pub(super) fn has_refused(&self) -> bool {
        self.refused.get()
    }

    /// Notes why there will be no request on it.
    pub(super) fn give_up(&self, unusable: Unusable) {
        self.unusable.set(Some(unusable));
    }

    pub(super) fn unusable(&self) -> Option<Unusable> {
        self.unusable.get()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Lets it finish the answer that it owes, and no more.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Ends it now.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Polls `work` until it is done, the connection is cut, or its phase has lasted too long.
    pub(super) async fn watch<T>(
        self: &Rc<Self>,
        limits: &ServerLimits,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, CloseReason> {
        poll_fn(|cx| {
            self.remember(cx.waker());
            if self.cut.get() {
                return Poll::Ready(Err(CloseReason::Displaced));
            }
            if let Poll::Ready(done) = work(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.is_late(limits) { Poll::Ready(Err(CloseReason::Expired(self.phase.get()))) } else { Poll::Pending }
        })
        .await
    }

    /// If it is not, it will be looked at again once it may be. The alarm is only touched when the deadline comes closer. One that
    /// moves away, as with every request on a connection that is kept alive, costs nothing: the alarm goes off early, somebody
    /// looks, and it is set again.
    fn is_late(self: &Rc<Self>, limits: &ServerLimits) -> bool {
        let Some(due) = self.deadline(limits) else { return false };
        if self.alarm.get().is_some_and(|(at, _)| at <= due) {
            return false;
        }
        self.forget_timer();
        let late = clock::monotonic() >= due;
        if !late {
            self.alarm.set(Some(self.timer_queue.set(due, Rc::clone(self))));
        }
        late
    }

    /// Its alarm has gone off.
    pub(super) fn fire(&self) {
        self.alarm.set(None);
        self.wake();
    }

    /// It will not be looked at any more.
    pub(super) fn forget_timer(&self) {
        if let Some(key) = self.alarm.take() {
            self.timer_queue.forget(key);
        }
    }

    fn deadline(&self, limits: &ServerLimits) -> Option<Duration> {
        let limit = match self.phase.get() {
            Phase::New | Phase::Head => limits.head_timeout,
            Phase::Idle => limits.idle_timeout,
            Phase::Body => limits.body_timeout,
            Phase::Writing => limits.write_timeout,
            Phase::Lingering => LINGER,
            Phase::Handling => return None,
        };
        Some(self.since.get() + limit)
    }

    fn remember(&self, waker: &Waker) {
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
