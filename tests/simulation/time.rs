//! A clock that moves only when the test says so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use ops_runtime::clock::Clock;
use statemachine::time::Now;

#[derive(Debug, Clone)]
pub(crate) struct VirtualClock(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    now: Now,
    /// The CPU time that the test says its thread has used.
    worked: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    next_id: u64,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        // The host has been up for a while when the agent starts.
        let now =
            Now { monotonic: Duration::from_secs(1000), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) };
        Self(Rc::new(RefCell::new(Inner { now, worked: Duration::ZERO, timers: BTreeMap::new(), next_id: 0 })))
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.0.borrow().timers.keys().next().map(|(at, _)| *at)
    }

    /// Advances the clock and fires all due timers at once, as after a suspend.
    pub(crate) fn advance_to(&self, at: Duration) {
        let due = {
            let mut inner = self.0.borrow_mut();
            let step = at.saturating_sub(inner.now.monotonic);
            inner.now.monotonic += step;
            inner.now.wall += step;
            let now = inner.now.monotonic;
            let later = inner.timers.split_off(&(now + Duration::from_nanos(1), 0));
            std::mem::replace(&mut inner.timers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// The thread uses CPU time.
    pub(crate) fn work(&self, time: Duration) {
        self.0.borrow_mut().worked += time;
    }

    /// Sets the wall clock.
    pub(crate) fn set_wall(&self, wall: SystemTime) {
        self.0.borrow_mut().now.wall = wall;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        self.0.borrow().now
    }

    fn cpu_time(&self) -> Duration {
        self.0.borrow().worked
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> {
        Sleep { clock: self.clone(), at, id: None }
    }
}

struct Sleep {
    clock: VirtualClock,
    at: Duration,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let known = self.id;
        let mut inner = self.clock.0.borrow_mut();
        if inner.now.monotonic >= at {
            return Poll::Ready(());
        }
        let id = known.unwrap_or(inner.next_id);
        inner.next_id = inner.next_id.max(id + 1);
        inner.timers.insert((at, id), cx.waker().clone());
        drop(inner);
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.0.borrow_mut().timers.remove(&(self.at, id));
        }
    }
}
