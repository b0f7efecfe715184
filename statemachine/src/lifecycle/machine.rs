//! The machine: the table, and the memory that a table does not have.

use std::collections::VecDeque;
use std::time::Duration;

use strum::VariantArray as _;

use super::faults::Faults;
use super::input::{ExitKind, Input, Limits, Part, Reaction, Refused, Transition};
use super::transition::{Effect, Event, State, transition};
use crate::table::Cell;
use crate::time::Now;

/// The number of transitions that are kept.
pub const HISTORY: usize = 32;

/// The agent's lifecycle with its memory. A clone is a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    state: State,
    since: Now,
    cause: String,
    faults: Faults,
    proved: Vec<Part>,
    history: VecDeque<Transition>,
    incarnation: u64,
    sequence: u64,
    refused: u64,
    limits: Limits,
    started: Now,
    refresh_at: Option<Duration>,
    grace_until: Option<Duration>,
    outcome: Option<ExitKind>,
}

impl Machine {
    /// A machine in [`State::Starting`]. `incarnation` and `sequence` continue those of the last run.
    #[must_use]
    pub fn new(now: Now, incarnation: u64, sequence: u64, limits: Limits) -> Self {
        Self {
            state: State::Starting,
            since: now,
            cause: "process started".to_owned(),
            faults: Faults::default(),
            proved: Vec::new(),
            history: VecDeque::with_capacity(HISTORY),
            incarnation,
            sequence,
            refused: 0,
            limits,
            started: now,
            // The first status is written at once.
            refresh_at: Some(now.monotonic),
            grace_until: None,
            outcome: None,
        }
    }

    /// Handles an input and returns what follows.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the event cannot happen in the present state. It is counted and changes nothing else.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<Reaction, Refused> {
        let Some((event, cause)) = self.interpret(now, input) else {
            return Ok(Reaction::none());
        };
        let cell = transition(self.state, event);
        if cell == Cell::Refuse {
            self.refused += 1;
            return Err(Refused { state: self.state, event });
        }
        let effects = cell.effects();
        if effects.contains(&Effect::Persist) {
            self.sequence += 1;
            self.refresh_at = Some(now.monotonic + self.refresh_lead());
        }
        let transition = match cell {
            Cell::Go(to, _) => Some(self.enter(now, to, event, cause)),
            Cell::Stay(_) | Cell::Refuse => None,
        };
        Ok(Reaction { effects, transition })
    }

    /// When [`Input::TimePassed`] is due, on the monotonic clock. `None` in Stopped.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        [self.refresh_at, self.grace_until, self.start_until()].into_iter().flatten().min()
    }

    /// Applies a new refresh interval. The next write is due within it.
    pub fn set_refresh(&mut self, now: Now, refresh: Duration) {
        self.limits.refresh = refresh;
        let lead = now.monotonic + self.refresh_lead();
        self.refresh_at = self.refresh_at.map(|at| at.min(lead));
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

    /// The current faults.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Whether a required part has proved that it works.
    #[must_use]
    pub fn has_proved(&self, part: Part) -> bool {
        self.proved.contains(&part)
    }

    /// The last [`HISTORY`] transitions, oldest first.
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Transition> {
        self.history.iter()
    }

    /// The number of the agent's start. Grows by one at each start.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The number of the status. Grows by one at each status that has to be written.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of refused events.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// When the machine was made.
    #[must_use]
    pub const fn started(&self) -> Now {
        self.started
    }

    /// How it ended, in Stopped.
    #[must_use]
    pub const fn outcome(&self) -> Option<ExitKind> {
        self.outcome
    }

    /// Turns an input into an event of the table. `None`: it brings nothing new.
    fn interpret(&mut self, now: Now, input: Input) -> Option<(Event, String)> {
        Some(match input {
            Input::PartProved(part) => self.prove(part),
            Input::StartFailed(reason) => (Event::StartFailed, reason),
            Input::FaultRaised(name, detail) => {
                let cause = format!("fault {}: {detail}", name.as_str());
                self.faults.raise(name, now, detail).then_some((Event::FaultRaised, cause))?
            }
            Input::FaultCleared(name) => {
                self.faults.clear(name).then_some(())?;
                let event = if self.faults.is_empty() { Event::FaultsCleared } else { Event::FaultEased };
                (event, format!("fault {} cleared", name.as_str()))
            }
            Input::ReloadRequested => (Event::ReloadRequested, "reload requested".to_owned()),
            Input::HeartbeatDue => (Event::HeartbeatDue, "heartbeat due".to_owned()),
            Input::StopRequested(by) => (Event::StopRequested, by),
            Input::Drained => (Event::Drained, "drained".to_owned()),
            Input::TimePassed => self.expire(now)?,
        })
    }

    fn prove(&mut self, part: Part) -> (Event, String) {
        if !self.has_proved(part) {
            self.proved.push(part);
        }
        if self.proved.len() < Part::VARIANTS.len() {
            (Event::PartProved, format!("{part:?} works"))
        } else if self.faults.is_empty() {
            (Event::Proved, "every required part works".to_owned())
        } else {
            let names: Vec<&str> = self.faults.iter().map(|(name, _)| name.as_str()).collect();
            (Event::ProvedWithFault, format!("every required part works, with fault {}", names.join(", ")))
        }
    }

    /// The deadline that has passed, if any. One that ends a phase comes before one that repeats.
    fn expire(&mut self, now: Now) -> Option<(Event, String)> {
        let passed = |deadline: Option<Duration>| deadline.is_some_and(|at| at <= now.monotonic);
        if passed(self.grace_until) {
            return Some((Event::GraceExpired, format!("not drained within {:?}", self.limits.grace)));
        }
        if passed(self.start_until()) {
            let missing: Vec<String> =
                Part::VARIANTS.iter().filter(|part| !self.has_proved(**part)).map(|part| format!("{part:?}")).collect();
            return Some((
                Event::StartFailed,
                format!("{} did not start within {:?}", missing.join(", "), self.limits.start),
            ));
        }
        passed(self.refresh_at).then(|| (Event::RefreshDue, "refresh due".to_owned()))
    }

    fn enter(&mut self, now: Now, to: State, event: Event, cause: String) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.cause.clone_from(&cause);
        self.grace_until = (to == State::Stopping).then(|| now.monotonic + self.limits.grace);
        if to == State::Stopped {
            self.refresh_at = None;
            self.outcome = Some(if event == Event::Drained {
                ExitKind::Clean
            } else if event == Event::StartFailed {
                ExitKind::Failed
            } else {
                ExitKind::Forced
            });
        }
        let transition = Transition { sequence: self.sequence, at: now, from, to, event, cause };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(transition.clone());
        transition
    }

    fn start_until(&self) -> Option<Duration> {
        (self.state == State::Starting).then(|| self.started.monotonic + self.limits.start)
    }

    /// The refresh interval is a promise about the file's age as readers see it, so a write begins a little earlier.
    fn refresh_lead(&self) -> Duration {
        self.limits.refresh - (self.limits.refresh / 20).min(Duration::from_millis(250))
    }
}
