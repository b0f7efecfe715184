//! The machine: the table, and the memory that a table does not have.

use std::collections::VecDeque;
use std::time::Duration;

use super::identity::Identity;
use super::input::{Input, Reaction, Refused, Transition};
use super::policy::{CALM, EXIT_CONFIG, Exit, Policy, RestartWhen};
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
    policy: Policy,
    /// Whether it is meant to run. A requested stop clears it, and only a requested start sets it.
    pub(super) wanted: bool,
    pub(super) process: Option<Identity>,
    pub(super) ending: Ending,
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
            retries: 0,
            restarts: 0,
            refused: 0,
            deadline: None,
            history: VecDeque::new(),
        }
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

    /// Turns an input into an event of the table. `None`: it brings nothing new.
    fn interpret(&self, now: Now, input: &Input) -> Option<(Event, String)> {
        Some(match input {
            Input::StartRequested(who) => (Event::StartRequested, who.clone()),
            Input::StopRequested(who) => (Event::StopRequested, who.clone()),
            Input::RestartRequested(who) => (Event::RestartRequested, who.clone()),
            Input::SpecChanged(_) => {
                self.wanted.then(|| (Event::RestartRequested, "its configuration changed".to_owned()))?
            }
            Input::Spawned(process) => (Event::Spawned, format!("{process} started")),
            Input::SpawnFailed { reason, own_fault } => {
                let cause = format!("could not be started: {reason}");
                if *own_fault && self.wanted { (Event::Died, cause) } else { self.end(None, cause) }
            }
            Input::Adopted(process) if self.wanted => (Event::Adopted, format!("{process} adopted")),
            Input::Adopted(process) => (Event::StrayFound, format!("{process} found, though it is to be stopped")),
            Input::Vanished => {
                self.state.has_process().then(|| self.end(Some(Exit::Unseen), Exit::Unseen.to_string()))?
            }
            Input::Exited(process, exit) => {
                (self.process == Some(*process)).then(|| self.end(Some(*exit), format!("{process} {exit}")))?
            }
            Input::FoundHealthy => (Event::FoundHealthy, "everything that is looked at is good".to_owned()),
            Input::FoundBad(why) => (Event::FoundBad, why.clone()),
            Input::Condemned(why) => (Event::Condemned, format!("restarted: {why}")),
            Input::TimePassed => self.expire(now)?,
        })
    }

    /// The event for the exit of the process.
    fn end(&self, exit: Option<Exit>, what: String) -> (Event, String) {
        let condemned = self.ending == Ending::Condemned;
        let done = match self.policy.when {
            RestartWhen::Always => false,
            RestartWhen::OnFailure => exit == Some(Exit::Code(0)) && !condemned,
            RestartWhen::Never => true,
        };
        if !self.wanted {
            (Event::Ended, format!("stopped: {what}"))
        } else if exit == Some(Exit::Code(EXIT_CONFIG)) {
            (Event::GaveUp, what)
        } else if self.ending == Ending::Requested {
            (Event::Died, what)
        } else if done {
            (Event::Ended, format!("{what}, and its policy is not to restart it"))
        } else if self.retries >= self.policy.max_retries {
            (Event::GaveUp, format!("{what}, after {} restarts in a row", self.retries))
        } else {
            (Event::Died, what)
        }
    }

    /// The event for the deadline, if it has passed.
    fn expire(&self, now: Now) -> Option<(Event, String)> {
        self.deadline.filter(|at| *at <= now.monotonic)?;
        match self.state {
            State::Running => Some((Event::HealthLasted, format!("healthy for {CALM:?}"))),
            State::Stopping => Some((Event::StopTimedOut, format!("still there after {STOP_GRACE:?}"))),
            State::Backoff => Some((Event::BackoffElapsed, format!("started again: {}", self.cause))),
            State::Stopped | State::Starting | State::Unhealthy | State::Failed => None,
        }
    }

    /// Whether a start is reported although another process may still be alive.
    fn contradicts(&self, input: &Input) -> bool {
        match input {
            Input::Spawned(_) | Input::SpawnFailed { .. } => self.process.is_some(),
            Input::Adopted(found) => self.process.is_some_and(|process| process != *found),
            Input::StartRequested(_) | Input::StopRequested(_) | Input::RestartRequested(_) => false,
            Input::SpecChanged(_) | Input::Vanished | Input::Exited(..) => false,
            Input::FoundHealthy | Input::FoundBad(_) | Input::Condemned(_) | Input::TimePassed => false,
        }
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
            Event::Ended | Event::Died | Event::GaveUp => {
                self.process = None;
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
            State::Running => (self.retries > 0).then(|| now.monotonic + CALM),
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
            Ending::Own | Ending::Condemned => {
                let wait = self.policy.wait(self.retries);
                self.retries += 1;
                wait
            }
        }
    }
}
