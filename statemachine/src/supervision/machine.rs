//! The machine: the table, and the memory that a table does not have.
//!
//! `interpret` says what an input means, `memory` what is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exit::{Exit, LastExit};
use super::identity::Identity;
use super::input::{Input, Reaction, Refused, Transition};
use super::interpret::Meaning;
use super::policy::Policy;
use super::reason::{ReasonCode, RecordedReason};
use super::saved::Ending;
use super::transition::{Event, State, transition};
use crate::table::Cell;
use crate::time::Now;

/// The number of transitions that are kept.
pub const HISTORY: usize = 16;

/// The time from one SIGKILL to the next, if the tree has not ended and nothing else was reported meanwhile.
pub(super) const KILL_AGAIN: Duration = Duration::from_secs(15);

/// One supervised agent with its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervised {
    pub(super) state: State,
    pub(super) since: Now,
    pub(super) cause: String,
    pub(super) policy: Policy,
    /// Whether it is meant to run. A requested stop clears it, and only a requested start sets it.
    pub(super) wanted: bool,
    pub(super) process: Option<Identity>,
    pub(super) ending: Ending,
    /// How the main process ended, while other processes of its tree are left.
    pub(super) main_exit: Option<Exit>,
    /// The main process of a tree that SIGKILL did not end. As long as it is there, nothing is started.
    pub(super) remainder: Option<Identity>,
    /// What its next start has to wait for: the agents that it depends on and that are not Running, for people.
    pub(super) missing: Option<String>,
    /// The last signal that an operator had sent to its process, and who that was.
    pub(super) signalled: Option<(i32, String)>,
    /// Whether it hangs: every liveness check that it has is bad.
    pub(super) hangs: bool,
    pub(super) reason: Option<RecordedReason>,
    pub(super) last_exit: Option<LastExit>,
    pub(super) restarts_by_reason: BTreeMap<ReasonCode, u64>,
    pub(super) retries: u32,
    pub(super) restarts: u64,
    refused: u64,
    /// The one deadline of the present state: the end of the stop timeout, of the backoff, or of the time after which retries are
    /// forgotten.
    pub(super) deadline: Option<Duration>,
    pub(super) history: VecDeque<Transition>,
}

impl Supervised {
    /// A machine in [`State::Stopped`] that has not been started yet.
    #[must_use]
    pub fn new(now: Now, policy: Policy) -> Self {
        Self {
            state: State::Stopped,
            since: now,
            cause: "not started yet".to_owned(),
            policy,
            wanted: true,
            process: None,
            ending: Ending::Own,
            main_exit: None,
            remainder: None,
            missing: None,
            signalled: None,
            hangs: false,
            reason: None,
            last_exit: None,
            restarts_by_reason: BTreeMap::new(),
            retries: 0,
            restarts: 0,
            refused: 0,
            deadline: None,
            history: VecDeque::new(),
        }
    }

    /// A machine that an operator stopped, of which no more is known.
    #[must_use]
    pub fn stopped(now: Now, policy: Policy) -> Self {
        let cause = "stopped by an operator, as an earlier daemon recorded".to_owned();
        Self { wanted: false, cause, ..Self::new(now, policy) }
    }

    /// Handles an input and returns what follows.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the event cannot happen in the present state. It is counted and changes nothing else.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<Reaction, Refused> {
        if let Input::SpecChanged(policy) = input {
            self.policy = policy;
        }
        let Some(Meaning { event, cause, reason }) = self.interpret(now, &input) else {
            return Ok(Reaction::none());
        };
        let cell = transition(self.state, event);
        if cell == Cell::Refuse || self.contradicts(&input) {
            self.refused += 1;
            return Err(Refused { state: self.state, event });
        }
        if let Some(reason) = reason.filter(|_| matches!(cell, Cell::Go(..)) || self.state == State::Stopping) {
            self.reason = Some(RecordedReason { at: now.wall, reason });
        }
        self.remember(now, event, &input);
        match cell {
            Cell::Go(to, effects) => {
                let transition = Some(self.enter(now, to, event, cause));
                Ok(Reaction { effects, transition })
            }
            Cell::Stay(effects) => {
                // A signal without effect is sent again. Another reason to stop does not extend the time.
                if event == Event::StopTimedOut {
                    self.deadline = Some(now.monotonic + KILL_AGAIN);
                }
                Ok(Reaction { effects, transition: None })
            }
            Cell::Refuse => Ok(Reaction::none()),
        }
    }

    /// What its next start has to wait for, for people.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// When [`Input::TimePassed`] is due, on the monotonic clock. `None`: only an input can change anything.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it entered the state.
    #[must_use]
    pub const fn since(&self) -> Now {
        self.since
    }

    /// Why, for people.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Whether it is meant to run.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.wanted
    }

    /// Its process, if there is one.
    #[must_use]
    pub const fn process(&self) -> Option<Identity> {
        self.process
    }

    /// What SIGKILL did not end, by its main process. As long as it is there, nothing can be started.
    #[must_use]
    pub const fn remainder(&self) -> Option<Identity> {
        self.remainder
    }

    /// The main process of the tree that is or may be there.
    #[must_use]
    pub fn tree(&self) -> Option<Identity> {
        self.process.or(self.remainder)
    }

    /// Why it was last started, stopped, restarted or not restarted.
    #[must_use]
    pub const fn reason(&self) -> Option<&RecordedReason> {
        self.reason.as_ref()
    }

    /// How its latest process ended.
    #[must_use]
    pub const fn last_exit(&self) -> Option<&LastExit> {
        self.last_exit.as_ref()
    }

    /// The number of restarts for each reason.
    #[must_use]
    pub const fn restarts_by_reason(&self) -> &BTreeMap<ReasonCode, u64> {
        &self.restarts_by_reason
    }

    /// Says whether it hangs, before an input that may stop it: then it is killed sooner.
    pub const fn set_hangs(&mut self, hangs: bool) {
        self.hangs = hangs;
    }

    /// An operator had this signal sent to its process. If the process ends by it, the reason names the operator.
    pub fn set_signalled(&mut self, signal: i32, by: String) {
        self.signalled = self.process.map(|_| (signal, by));
    }

    /// Replaces the restart policy. A wait that has begun keeps its length.
    pub const fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The restart policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The number of restarts in a row, which decides about the next backoff and about Failed.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// The number of restarts in all.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The number of refused events.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The last [`HISTORY`] transitions, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Transition> + ExactSizeIterator {
        self.history.iter()
    }
}
