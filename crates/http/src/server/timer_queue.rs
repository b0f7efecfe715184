//! One alarm for all connections of a server, kept on the server's own thread.
//!
//! Each could have a timer of the reactor's. But those are put away by the reactor's helper thread, now and then: what one
//! thread has taken and another gives back stays in the allocator's pages until the first looks there again, which after a crowd
//! it does not. And setting one wakes the helper.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::future;

use super::conn_state::ConnState;
use ops_runtime::clock::{self, Clock as _, SystemClock};

/// How late an alarm may go off: so that a crowd that came together is woken together.
const STEP: Duration = Duration::from_millis(100);

/// When an alarm is due, and which one it is.
pub(super) type Key = (Duration, u64);

/// Who is to be woken when.
#[derive(Default)]
pub(super) struct TimerQueue {
    set: RefCell<BTreeMap<Key, Rc<ConnState>>>,
    next: Cell<u64>,
    /// Until when [`Self::fire`] sleeps.
    asleep_until: Cell<Option<Duration>>,
    ringer: RefCell<Option<Waker>>,
}

impl TimerQueue {
    /// Sees to it that [`ConnState::wake`] is called soon after `due`. The key is for [`Self::forget`].
    pub(super) fn set(&self, due: Duration, whose: Rc<ConnState>) -> Key {
        let key = (due, self.next.get());
        self.next.set(key.1 + 1);
        self.set.borrow_mut().insert(key, whose);
        if self.asleep_until.get().is_none_or(|until| step_after(due) < until)
            && let Some(ringer) = self.ringer.take()
        {
            ringer.wake();
        }
        key
    }

    /// Nobody waits for it any more.
    pub(super) fn forget(&self, key: Key) {
        self.set.borrow_mut().remove(&key);
    }

    /// Wakes everybody in time, without end.
    pub(super) async fn fire(self: Rc<Self>) {
        loop {
            let until = self.sooner_than(Duration::MAX).await;
            self.asleep_until.set(Some(until));
            let sooner = async {
                self.sooner_than(until).await;
            };
            future::or(sooner, SystemClock.sleep_until(until)).await;
            self.asleep_until.set(None);
            while let Some(conn_state) = self.take_due(clock::monotonic()) {
                conn_state.fire();
            }
        }
    }

    /// Waits until the first alarm is to go off before `until`, and says when.
    async fn sooner_than(&self, until: Duration) -> Duration {
        poll_fn(|cx| {
            let first = self.set.borrow().first_key_value().map(|((due, _), _)| step_after(*due));
            match first.filter(|first| *first < until) {
                Some(first) => Poll::Ready(first),
                None => {
                    self.ringer.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn take_due(&self, now: Duration) -> Option<Rc<ConnState>> {
        let mut set = self.set.borrow_mut();
        let first = set.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// The first of the moments, [`STEP`] apart, that is not before `due`.
fn step_after(due: Duration) -> Duration {
    let step = STEP.as_nanos();
    u64::try_from(due.as_nanos().div_ceil(step) * step).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use smol::LocalExecutor;

    use super::*;
    use crate::server::ServerLimits;
    use crate::server::conn_state::{CloseReason, Phase};

    fn patient_for(head_timeout: Duration) -> ServerLimits {
        ServerLimits { head_timeout, ..ServerLimits::default() }
    }

    async fn nothing_comes(conn_state: &Rc<ConnState>, head_timeout: Duration) -> Result<(), CloseReason> {
        conn_state.watch(&patient_for(head_timeout), |_| Poll::Pending).await
    }

    #[test]
    fn who_is_due_sooner_is_not_kept_waiting_by_who_came_first() {
        let (executor, timer_queue) = (LocalExecutor::new(), Rc::<TimerQueue>::default());
        let conn_state = || Rc::new(ConnState::new(Rc::clone(&timer_queue)));
        let (first, second) = (conn_state(), conn_state());
        let _firing = executor.spawn(Rc::clone(&timer_queue).fire());
        let _first = executor.spawn(async move { nothing_comes(&first, Duration::from_secs(3600)).await });
        let ended = smol::block_on(executor.run(async {
            while timer_queue.asleep_until.get().is_none() {
                future::yield_now().await;
            }
            nothing_comes(&second, Duration::from_millis(1)).await
        }));
        assert_eq!(ended, Err(CloseReason::Expired(Phase::New)));
        assert_eq!(timer_queue.set.borrow().len(), 1, "the first one's is still set");
    }

    #[test]
    fn a_deadline_that_moves_away_leaves_the_alarm_alone_and_an_end_takes_it_along() {
        let timer_queue = Rc::<TimerQueue>::default();
        let conn_state = Rc::new(ConnState::new(Rc::clone(&timer_queue)));
        let limits = ServerLimits { idle_timeout: Duration::from_secs(7200), ..patient_for(Duration::from_secs(3600)) };
        let mut polls = 0;
        let watched = smol::block_on(conn_state.watch(&limits, |cx| {
            polls += 1;
            conn_state.enter(Phase::Idle);
            cx.waker().wake_by_ref();
            if polls > 10 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!((watched, timer_queue.next.get(), timer_queue.set.borrow().len()), (Ok(()), 1, 1));
        conn_state.forget_timer();
        assert!(timer_queue.set.borrow().is_empty());
    }

    #[test]
    fn alarms_go_off_at_the_next_step_and_never_before_their_time() {
        let millis = Duration::from_millis;
        assert_eq!([0, 1, 100, 101].map(|due| step_after(millis(due))), [0, 100, 100, 200].map(millis));
        assert_eq!(step_after(Duration::MAX), Duration::MAX);
    }
}
