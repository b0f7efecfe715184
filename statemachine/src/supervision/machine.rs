//! The machine: the table, and the memory that a table does not have.

use std::collections::VecDeque;
use std::time::Duration;

use super::identity::Identity;
use super::input::{Input, Reaction, Refused, Transition};
use super::policy::{Exit, Policy, STABLE_AFTER};
use super::saved::Ending;
use super::transition::{Event, State, transition};
use crate::table::Cell;
use crate::time::Now;

/// The number of transitions that are kept.
pub const HISTORY: usize = 16;

/// The time from SIGTERM to SIGKILL, and from one SIGKILL to the next.
pub const STOP_GRACE: Duration = Duration::from_secs(30);

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
    pub(super) retries: u32,
    pub(super) restarts: u64,
    refused: u64,
    /// The one deadline of the present state: the end of the stop timeout, of the backoff, or of the time after which retries are
    /// forgotten.
    pub(super) deadline: Option<Duration>,
    history: VecDeque<Transition>,
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
        let Some((event, cause)) = self.interpret(now, &input) else {
            return Ok(Reaction::none());
        };
        let cell = transition(self.state, event);
        if cell == Cell::Refuse || self.contradicts(&input) {
            self.refused += 1;
            return Err(Refused { state: self.state, event });
        }
        self.remember(event, &input);
        match cell {
            Cell::Go(to, effects) => {
                let transition = Some(self.enter(now, to, event, cause));
                Ok(Reaction { effects, transition })
            }
            Cell::Stay(effects) => {
                // A signal without effect is sent again. Another reason to stop does not extend the time.
                if event == Event::StopTimedOut {
                    self.deadline = Some(now.monotonic + STOP_GRACE);
                }
                Ok(Reaction { effects, transition: None })
            }
            Cell::Refuse => Ok(Reaction::none()),
        }
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
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Transition> {
        self.history.iter()
    }

    /// Updates the memory that the table does not have.
    fn remember(&mut self, event: Event, input: &Input) {
        match event {
            Event::StartRequested => {
                self.wanted = true;
                if self.state == State::Stopping {
                    self.ending = Ending::Requested;
                } else if !self.state.has_process() {
                    self.retries = 0;
                }
            }
            Event::StopRequested => self.wanted = false,
            Event::RestartRequested => {
                self.wanted = true;
                self.ending = if self.state.has_process() { Ending::Requested } else { Ending::Own };
                self.retries = 0;
            }
            Event::Condemned => self.ending = Ending::Condemned,
            Event::HealthLasted => {
                self.retries = 0;
                self.deadline = None;
            }
            Event::BackoffElapsed => self.restarts += 1,
            Event::Spawned | Event::Adopted | Event::StrayFound => {
                if let Input::Spawned(process) | Input::Adopted(process) = input {
                    self.process = Some(*process);
                }
            }
            Event::MainGone | Event::Daemonized => {
                if let Input::MainGone { exit, .. } = input {
                    self.main_exit = self.main_exit.or(Some(*exit));
                }
                if event == Event::Daemonized && self.state != State::Stopping {
                    self.ending = Ending::Daemonized;
                }
            }
            Event::Ended | Event::Died | Event::GaveUp => {
                self.process = None;
                self.main_exit = None;
                if matches!(input, Input::SpawnFailed { own_fault: true, .. }) && self.ending == Ending::Own {
                    self.ending = Ending::DaemonsFault;
                }
            }
            Event::FoundHealthy | Event::FoundBad | Event::StopTimedOut => {}
        }
    }

    fn enter(&mut self, now: Now, to: State, event: Event, cause: String) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.cause.clone_from(&cause);
        self.deadline = match to {
            State::Running => (self.retries > 0).then(|| now.monotonic + STABLE_AFTER),
            State::Stopping => Some(now.monotonic + STOP_GRACE),
            State::Backoff => Some(now.monotonic + self.back_off()),
            State::Stopped | State::Starting | State::Unhealthy | State::Failed => None,
        };
        if to != State::Stopping {
            self.ending = Ending::Own;
        }
        let transition = Transition { at: now, from, to, event, cause };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(transition.clone());
        transition
    }

    /// The wait before the next start. A requested start comes at once and resets the count.
    fn back_off(&mut self) -> Duration {
        match self.ending {
            Ending::Requested => {
                self.retries = 0;
                Duration::ZERO
            }
            Ending::DaemonsFault => self.policy.wait(self.retries.max(1)),
            Ending::Own | Ending::Condemned | Ending::Daemonized => {
                let wait = self.policy.wait(self.retries);
                self.retries += 1;
                wait
            }
        }
    }
}
