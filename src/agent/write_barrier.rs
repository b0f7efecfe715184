//! Durable before visible: effects that follow a write of the status file wait for the disk, but only for a limited time. Pure.

use std::time::Duration;

use statemachine::lifecycle::Effect;

use ops_runtime::stall_deadline::StallDeadline;

/// How long the agent waits for the disk before it continues without it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after the agent stopped a failed last write is tried again. No later refresh would try it.
pub(crate) const FINAL_WRITE_RETRIES: Duration = Duration::from_secs(1);

/// What to do with effects that wait for a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// No write is in progress: begin one.
    Begin,
    /// They wait for the next write, which begins when the present one ends.
    Wait,
    /// The disk does not answer: perform them without it.
    GoOn(Vec<Effect>),
}

/// What a finished write leads to, in the order in which it has to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Written<S> {
    /// The snapshot is on disk. Perform the effects for it, then clear the fault `status_file` if that is due.
    Durable {
        /// What was written.
        snapshot: S,
        /// What waited for the write.
        effects: Vec<Effect>,
        /// Whether the write was in time. A late success does not prove that the disk works again: a disk that always takes
        /// two seconds would otherwise clear the fault at every refresh.
        clears_fault: bool,
    },
    /// The write failed. Raise the fault `status_file`, then perform the effects without the disk.
    Failed {
        /// What does not wait any longer.
        effects: Vec<Effect>,
        /// Whether the exit waits for one more write, because this was the last one.
        retry_exit: bool,
    },
}

/// At most one write at a time. What is submitted during a write shares the next one.
#[derive(Debug, Clone)]
pub struct WriteBarrier<S> {
    writing: Option<Writing<S>>,
    waiting: Vec<Effect>,
    again: bool,
}

#[derive(Debug, Clone)]
struct Writing<S> {
    snapshot: S,
    effects: Vec<Effect>,
    deadline: StallDeadline,
}

impl<S> Default for WriteBarrier<S> {
    fn default() -> Self {
        Self { writing: None, waiting: Vec::new(), again: false }
    }
}

impl<S> WriteBarrier<S> {
    /// Takes effects that wait for a write.
    pub fn submit(&mut self, effects: &[Effect]) -> Submitted {
        merge(&mut self.waiting, effects);
        match &self.writing {
            None => Submitted::Begin,
            Some(writing) => {
                self.again = true;
                if writing.deadline.has_expired() { Submitted::GoOn(self.take_waiting()) } else { Submitted::Wait }
            }
        }
    }

    /// A write of `snapshot` begins. All waiting effects wait for it.
    pub fn begin(&mut self, now: Duration, snapshot: S) {
        self.again = false;
        let effects = self.take_waiting();
        self.writing = Some(Writing { snapshot, effects, deadline: StallDeadline::begin(now, WRITE_TIMEOUT) });
    }

    /// The write in progress ended. `in_state` is how long the agent has been in its state. `None`: no write was in progress.
    pub fn end(&mut self, succeeded: bool, in_state: Duration) -> Option<Written<S>> {
        let Writing { snapshot, mut effects, deadline } = self.writing.take()?;
        let in_time = !deadline.has_expired();
        if succeeded {
            return Some(Written::Durable { snapshot, effects, clears_fault: in_time });
        }
        let retry_exit = in_time && effects.contains(&Effect::Exit) && in_state < FINAL_WRITE_RETRIES;
        if retry_exit {
            effects.retain(|effect| *effect != Effect::Exit);
        }
        Some(Written::Failed { effects, retry_exit })
    }

    /// Whether another write has to begin now.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.writing.is_none() && (self.again || !self.waiting.is_empty())
    }

    /// When [`WriteBarrier::expire`] has to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.writing.as_ref()?.deadline.deadline()
    }

    /// Returns `true` once, when the write in progress has exceeded [`WRITE_TIMEOUT`]. Then perform
    /// [`WriteBarrier::take_waiting`] without the disk.
    pub fn expire(&mut self, now: Duration) -> bool {
        let Some(writing) = self.writing.as_mut() else { return false };
        if !writing.deadline.expires(now) {
            return false;
        }
        let held = std::mem::take(&mut writing.effects);
        let later = std::mem::replace(&mut self.waiting, held);
        merge(&mut self.waiting, &later);
        // What is published from here on is newer than what the disk is writing, so one more write has to follow.
        self.again = true;
        true
    }

    /// Takes out all waiting effects.
    pub fn take_waiting(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.waiting)
    }
}

/// Adds effects in order, each once. All of them act on the newest state, so a repetition adds nothing.
fn merge(into: &mut Vec<Effect>, effects: &[Effect]) {
    for effect in effects {
        if !into.contains(effect) {
            into.push(*effect);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn writing(effects: &[Effect], at: Duration) -> WriteBarrier<u32> {
        let mut barrier = WriteBarrier::default();
        assert_eq!(barrier.submit(effects), Submitted::Begin);
        barrier.begin(at, 1);
        barrier
    }

    /// Exceeds the deadline as an agent without stalls does, which wakes up at each deadline.
    fn exceed(barrier: &mut WriteBarrier<u32>) {
        while let Some(at) = barrier.deadline() {
            if barrier.expire(at) {
                return;
            }
        }
        panic!("the write never exceeds its deadline");
    }

    #[test]
    fn a_write_in_time_clears_the_fault_and_a_late_one_does_not() {
        let publish = [Effect::Publish];
        let mut barrier = writing(&publish, SECOND);
        let durable = |effects: &[Effect], clears_fault| Written::Durable {
            snapshot: 1,
            effects: effects.to_vec(),
            clears_fault,
        };
        assert_eq!(barrier.end(true, SECOND), Some(durable(&publish, true)));

        let mut barrier = writing(&publish, SECOND);
        exceed(&mut barrier);
        assert_eq!(barrier.take_waiting(), publish, "waiting effects continue without the disk");
        assert_eq!(barrier.end(true, SECOND), Some(durable(&[], false)));
        assert_eq!(barrier.end(true, SECOND), None, "a write ends once");
    }

    #[test]
    fn a_write_follows_one_that_the_agent_did_not_wait_for() {
        let mut barrier = writing(&[Effect::Publish], SECOND);
        exceed(&mut barrier);
        barrier.take_waiting();
        assert!(!barrier.wants_write(), "one at a time");
        barrier.end(true, SECOND);
        assert!(barrier.wants_write(), "what was published meanwhile is not on disk yet");
        barrier.begin(SECOND * 10, 2);
        barrier.end(true, SECOND);
        assert!(!barrier.wants_write());
    }

    #[test]
    fn every_write_has_the_whole_time() {
        let mut barrier = writing(&[], SECOND);
        barrier.end(true, SECOND);
        barrier.begin(SECOND * 100, 2);
        let mut last = Duration::ZERO;
        while let Some(at) = barrier.deadline() {
            last = at;
            if barrier.expire(at) {
                break;
            }
        }
        assert_eq!(last, SECOND * 100 + WRITE_TIMEOUT);
    }

    #[test]
    fn the_exit_waits_for_one_more_write_where_there_is_time() {
        let last = [Effect::Publish, Effect::Exit];
        let failed = |effects: &[Effect], retry_exit| Some(Written::Failed { effects: effects.to_vec(), retry_exit });
        assert_eq!(writing(&last, SECOND).end(false, Duration::ZERO), failed(&[Effect::Publish], true));
        assert_eq!(writing(&last, SECOND).end(false, FINAL_WRITE_RETRIES), failed(&last, false), "the time is over");
        assert_eq!(
            writing(&last[..1], SECOND).end(false, Duration::ZERO),
            failed(&last[..1], false),
            "not the last one"
        );
        let mut hung = writing(&last, SECOND);
        exceed(&mut hung);
        hung.take_waiting();
        assert_eq!(hung.end(false, Duration::ZERO), failed(&[], false), "the exit did not wait any longer");
    }
}
