//! The timers of all connections of a server, on the server's own thread.
//!
//! The reactor's timers cost more. Setting one wakes the reactor's helper thread. And that thread frees them later:
//! memory that one thread allocates and another frees stays in the allocator after a burst of connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::future;

use ops_runtime::clock::{self, Clock as _, SystemClock};

/// Timers are rounded up to this step, so that a burst of connections shares one wake-up.
const STEP: Duration = Duration::from_millis(100);

/// Identifies a timer: when it is due, and a number.
pub(super) type Key = (Duration, u64);

/// What a timer belongs to.
pub(super) trait Timed {
    /// The timer is due. It is no longer in the queue.
    fn fire(&self);
}

/// Timers, the next one first.
pub(super) struct TimerQueue<T> {
    timers: RefCell<BTreeMap<Key, Rc<T>>>,
    next: Cell<u64>,
    /// When [`Self::run`] will wake up.
    asleep_until: Cell<Option<Duration>>,
    runner: RefCell<Option<Waker>>,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self {
            timers: RefCell::default(),
            next: Cell::default(),
            asleep_until: Cell::default(),
            runner: RefCell::default(),
        }
    }
}

impl<T: Timed> TimerQueue<T> {
    /// Adds a timer that fires at most [`STEP`] after `due`. The key is for [`Self::remove`].
    pub(super) fn insert(&self, due: Duration, owner: Rc<T>) -> Key {
        let key = (due, self.next.get());
        self.next.set(key.1 + 1);
        self.timers.borrow_mut().insert(key, owner);
        if self.asleep_until.get().is_none_or(|until| round_up(due) < until)
            && let Some(runner) = self.runner.take()
        {
            runner.wake();
        }
        key
    }

    /// Removes a timer that has not fired.
    pub(super) fn remove(&self, key: Key) {
        self.timers.borrow_mut().remove(&key);
    }

    /// Fires the timers when they are due. Never returns.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            let until = self.wait_for_timer_before(Duration::MAX).await;
            self.asleep_until.set(Some(until));
            let sooner = async {
                self.wait_for_timer_before(until).await;
            };
            future::or(sooner, SystemClock.sleep_until(until)).await;
            self.asleep_until.set(None);
            while let Some(owner) = self.take_due(clock::monotonic()) {
                owner.fire();
            }
        }
    }

    /// Waits until the first timer is due before `until`, and returns when it is due.
    async fn wait_for_timer_before(&self, until: Duration) -> Duration {
        poll_fn(|cx| {
            let first = self.timers.borrow().first_key_value().map(|((due, _), _)| round_up(*due));
            match first.filter(|first| *first < until) {
                Some(first) => Poll::Ready(first),
                None => {
                    self.runner.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn take_due(&self, now: Duration) -> Option<Rc<T>> {
        let mut timers = self.timers.borrow_mut();
        let first = timers.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// Rounds `due` up to a multiple of [`STEP`].
fn round_up(due: Duration) -> Duration {
    let step = STEP.as_nanos();
    u64::try_from(due.as_nanos().div_ceil(step) * step).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use smol::LocalExecutor;

    use super::*;

    /// Counts how often its timer fires.
    #[derive(Default)]
    struct Counter {
        fired: Cell<u32>,
        waiting: RefCell<Option<Waker>>,
    }

    impl Timed for Counter {
        fn fire(&self) {
            self.fired.set(self.fired.get() + 1);
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }

    #[test]
    fn a_timer_that_is_due_sooner_wakes_the_queue_sooner() {
        let (executor, timer_queue) = (LocalExecutor::new(), Rc::<TimerQueue<Counter>>::default());
        let (first, second) = (Rc::<Counter>::default(), Rc::<Counter>::default());
        let _running = executor.spawn(Rc::clone(&timer_queue).run());
        timer_queue.insert(clock::monotonic() + Duration::from_secs(3600), Rc::clone(&first));
        smol::block_on(executor.run(async {
            while timer_queue.asleep_until.get().is_none() {
                future::yield_now().await;
            }
            timer_queue.insert(clock::monotonic() + Duration::from_millis(1), Rc::clone(&second));
            poll_fn(|cx| {
                second.waiting.replace(Some(cx.waker().clone()));
                if second.fired.get() > 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }));
        assert_eq!((first.fired.get(), second.fired.get()), (0, 1));
        assert_eq!(timer_queue.timers.borrow().len(), 1, "the first timer is still set");
    }

    #[test]
    fn timers_are_rounded_up_to_the_next_step() {
        let millis = Duration::from_millis;
        assert_eq!([0, 1, 100, 101].map(|due| round_up(millis(due))), [0, 100, 100, 200].map(millis));
        assert_eq!(round_up(Duration::MAX), Duration::MAX);
    }
}
