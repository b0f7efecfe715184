//! Durable before visible: what follows a write of the status file waits for the disk, but not for ever. Pure.

use std::time::Duration;

use statemachine::lifecycle::Effect;

use ops_runtime::stall_deadline::StallDeadline;

/// How long the world waits for the disk before the agent goes on without it.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What to do with effects that stand behind a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// No write is under way: begin one.
    Begin,
    /// They wait for a write that will begin when the present one has ended.
    Wait,
    /// The disk does not answer: carry them out without it.
    GoOn(Vec<Effect>),
}

/// What a write that has ended leaves to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<S> {
    /// What was written, or was to be.
    pub snapshot: S,
    /// What waited for it.
    pub effects: Vec<Effect>,
    /// Whether the disk answered within [`PATIENCE`].
    pub in_time: bool,
}

/// At most one write at a time; whatever comes meanwhile shares the next one.
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
    patience: StallDeadline,
}

impl<S> Default for WriteBarrier<S> {
    fn default() -> Self {
        Self { writing: None, waiting: Vec::new(), again: false }
    }
}

impl<S> WriteBarrier<S> {
    /// Takes the effects that stand behind a write.
    pub fn submit(&mut self, effects: &[Effect]) -> Submitted {
        merge(&mut self.waiting, effects);
        match &self.writing {
            None => Submitted::Begin,
            Some(writing) => {
                self.again = true;
                if writing.patience.has_expired() { Submitted::GoOn(self.take_waiting()) } else { Submitted::Wait }
            }
        }
    }

    /// A write of `snapshot` begins; what waits, waits for this one.
    pub fn begin(&mut self, now: Duration, snapshot: S) {
        self.again = false;
        let effects = self.take_waiting();
        self.writing = Some(Writing { snapshot, effects, patience: StallDeadline::begin(now, PATIENCE) });
    }

    /// The write under way ended, well or badly. `None` if there was none.
    pub fn end(&mut self) -> Option<Ended<S>> {
        let Writing { snapshot, effects, patience } = self.writing.take()?;
        Some(Ended { snapshot, effects, in_time: !patience.has_expired() })
    }

    /// Whether another write is to begin now.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.writing.is_none() && (self.again || !self.waiting.is_empty())
    }

    /// When [`WriteBarrier::expire`] is to look at the patience with the disk.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.writing.as_ref()?.patience.deadline()
    }

    /// Gives up waiting if the patience has ended. What waited then is to be carried out: [`WriteBarrier::take_waiting`].
    pub fn expire(&mut self, now: Duration) -> bool {
        let Some(writing) = self.writing.as_mut() else { return false };
        if !writing.patience.expires(now) {
            return false;
        }
        let held = std::mem::take(&mut writing.effects);
        let later = std::mem::replace(&mut self.waiting, held);
        merge(&mut self.waiting, &later);
        // What is shown from here on is newer than what the disk is busy with.
        self.again = true;
        true
    }

    /// Takes out whatever waits.
    pub fn take_waiting(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.waiting)
    }
}

/// Adds effects in order, each once: all of them speak of the newest state, so twice says nothing more.
fn merge(into: &mut Vec<Effect>, effects: &[Effect]) {
    for effect in effects {
        if !into.contains(effect) {
            into.push(*effect);
        }
    }
}
