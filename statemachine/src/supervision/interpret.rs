//! Turns inputs into events of the table.

use super::exit::Exit;
use super::identity::Identity;
use super::input::Input;
use super::machine::Supervised;
use super::policy::RestartWhen;
use super::reason::{Reason, ReasonCode};
use super::saved::Ending;
use super::transition::{Event, State};
use crate::time::Now;

/// What an input means in the present state.
pub(super) struct Meaning {
    pub(super) event: Event,
    /// Why, for people.
    pub(super) cause: String,
    /// The reason that is recorded with it. `None`: the recorded one stays.
    pub(super) reason: Option<Reason>,
}

impl Meaning {
    fn of(event: Event, cause: impl Into<String>) -> Self {
        Self { event, cause: cause.into(), reason: None }
    }

    fn with_reason(event: Event, code: ReasonCode, cause: String) -> Self {
        Self { event, reason: Some(Reason::new(code, cause.clone())), cause }
    }

    fn requested(event: Event, reason: &Reason) -> Self {
        Self { event, cause: reason.text.clone(), reason: Some(reason.clone()) }
    }
}

impl Supervised {
    /// What an input means. `None`: it brings nothing new.
    pub(super) fn interpret(&self, now: Now, input: &Input) -> Option<Meaning> {
        Some(match input {
            Input::StartRequested(by) => self.defer_or(Meaning::requested(Event::StartRequested, by)),
            Input::StopRequested(by) => Meaning::requested(Event::StopRequested, &self.also(by)),
            Input::RestartRequested(by) => self.defer_or(Meaning::requested(Event::RestartRequested, &self.also(by))),
            Input::SpecChanged(_) => {
                let changed = Reason::new(ReasonCode::ConfigurationChanged, "its configuration changed");
                let may_start = self.wanted && self.remainder.is_none();
                let restart = || self.defer_or(Meaning::requested(Event::RestartRequested, &self.also(&changed)));
                may_start.then(restart)?
            }
            Input::DependencyReady => {
                let is_news = self.missing.is_some() || self.state == State::Waiting;
                is_news.then(|| Meaning::of(Event::DependencyReady, "all agents that it depends on are running"))?
            }
            Input::DependencyLost(missing) => {
                let is_news = self.missing.as_ref() != Some(missing);
                is_news.then(|| Meaning::of(Event::DependencyLost, missing.clone()))?
            }
            Input::Spawned(process) => Meaning::of(Event::Spawned, format!("{process} started")),
            Input::SpawnFailed { reason, own_fault } => self.not_started(reason, *own_fault),
            Input::Adopted(process) if self.remainder == Some(*process) => {
                Meaning::of(Event::RemainderFound, format!("what is left of {process} is watched"))
            }
            Input::Adopted(process) if self.wanted => Meaning::of(Event::Adopted, format!("{process} adopted")),
            Input::Adopted(process) => {
                Meaning::of(Event::StrayFound, format!("{process} found, but it has to be stopped"))
            }
            Input::Vanished if self.remainder.is_some() => Meaning::of(Event::RemainderGone, "what was left is gone"),
            Input::Vanished => self.state.has_process().then(|| self.end(Exit::Unseen, Exit::Unseen.to_string()))?,
            Input::MainGone { process, exit, left, daemonized } => {
                (self.process == Some(*process)).then(|| self.main_gone(*process, *exit, *left, *daemonized))?
            }
            Input::Exited(process, _) if self.remainder == Some(*process) => {
                Meaning::of(Event::RemainderGone, "what was left is gone")
            }
            Input::Exited(process, exit) => (self.process == Some(*process)).then(|| {
                let exit = self.main_exit.unwrap_or(*exit);
                self.end(exit, self.ended(*process, exit))
            })?,
            Input::Unkillable { process, left } => {
                let is_stopped = self.process == Some(*process) && self.state == State::Stopping;
                let cause = format!("SIGKILL does not end {left}");
                is_stopped.then(|| Meaning::with_reason(Event::Unkillable, ReasonCode::Unkillable, cause))?
            }
            Input::FoundHealthy => Meaning::of(Event::FoundHealthy, "all checks pass"),
            Input::FoundBad(why) => Meaning::of(Event::FoundBad, why.clone()),
            Input::Condemned(why) => {
                Meaning { cause: format!("restarted: {}", why.text), ..Meaning::requested(Event::Condemned, why) }
            }
            Input::TimePassed => self.expire(now)?,
        })
    }

    /// A start, or that it has to wait for an agent that this one depends on.
    fn defer_or(&self, start: Meaning) -> Meaning {
        match &self.missing {
            Some(missing) if !self.state.has_process() => {
                Meaning { event: Event::StartDeferred, cause: format!("{}; waits for {missing}", start.cause), ..start }
            }
            _ => start,
        }
    }

    /// The reason of a request, which does not hide the verdict for which the process is being stopped already.
    fn also(&self, by: &Reason) -> Reason {
        match &self.reason {
            Some(before) if self.state == State::Stopping && self.ending == Ending::Condemned => {
                Reason::new(by.code, format!("{}, while it was stopped for: {}", by.text, before.reason.text))
            }
            _ => by.clone(),
        }
    }

    /// How a process ended, and on whose order if that is known.
    fn ended(&self, process: Identity, exit: Exit) -> String {
        match &self.signalled {
            Some((signal, by)) if exit == Exit::Signal(*signal) => format!("{process} {exit}, sent by {by}"),
            _ => format!("{process} {exit}"),
        }
    }

    fn not_started(&self, why: &str, own_fault: bool) -> Meaning {
        let cause = format!("could not be started: {why}");
        if !self.wanted {
            Meaning::of(Event::Ended, format!("stopped: {cause}"))
        } else if own_fault {
            Meaning::with_reason(Event::Died, ReasonCode::DaemonShortage, cause)
        } else if self.ending == Ending::Requested {
            Meaning::of(Event::Died, cause)
        } else {
            self.restart_or_give_up(cause, ReasonCode::NotStarted, self.policy.when == RestartWhen::Never)
        }
    }

    /// The event for the exit of the main process of a tree in which others are left.
    fn main_gone(&self, process: Identity, exit: Exit, left: usize, daemonized: bool) -> Meaning {
        let count = if left == 1 { "1 process".to_owned() } else { format!("{left} processes") };
        let (event, code, cause) = if daemonized {
            let cause = format!("{} and left {count} in the background, which are stopped", self.ended(process, exit));
            (Event::Daemonized, ReasonCode::Daemonized, cause)
        } else {
            let cause = format!("{} and left {count}, which are stopped", self.ended(process, exit));
            (Event::MainGone, self.code_of(exit), cause)
        };
        let is_own = self.state != State::Stopping;
        if is_own { Meaning::with_reason(event, code, cause) } else { Meaning::of(event, cause) }
    }

    /// The event for the end of the tree.
    fn end(&self, exit: Exit, what: String) -> Meaning {
        let policy = &self.policy;
        let success = policy.success_exit_codes.has(exit);
        let done = match policy.when {
            RestartWhen::Always => false,
            RestartWhen::OnFailure => success && self.ending != Ending::Condemned,
            RestartWhen::Never => true,
        };
        let requested = self.reason.as_ref().map(|recorded| recorded.reason.text.as_str());
        if !self.wanted {
            let by = requested.map_or_else(String::new, |by| format!("{by}; "));
            return Meaning::of(Event::Ended, format!("stopped: {by}{what}"));
        }
        match self.ending {
            Ending::Daemonized => {
                let cause = format!("{what} and went to the background: run it in the foreground");
                Meaning::with_reason(Event::GaveUp, ReasonCode::Daemonized, cause)
            }
            _ if policy.no_restart_exit_codes.has(exit) => {
                Meaning::with_reason(Event::GaveUp, ReasonCode::ExitNoRestart, what)
            }
            Ending::Requested => Meaning::of(Event::Died, self.stopped_for(&what)),
            Ending::Condemned => {
                let cause = self.stopped_for(&what);
                let next = self.restart_or_give_up(cause, ReasonCode::MaxRetries, done);
                // The verdict is the reason, also if it was the last restart.
                if next.event == Event::GaveUp { next } else { Meaning { reason: None, ..next } }
            }
            Ending::Own | Ending::DaemonsFault => self.restart_or_give_up(what, self.code_of(exit), done),
        }
    }

    /// An exit with the reason for which the daemon caused it.
    fn stopped_for(&self, what: &str) -> String {
        let why = self.reason.as_ref().map(|recorded| recorded.reason.text.as_str());
        why.map_or_else(|| what.to_owned(), |why| format!("{why}; stopped by the daemon: {what}"))
    }

    fn restart_or_give_up(&self, what: String, code: ReasonCode, done: bool) -> Meaning {
        if done {
            Meaning::with_reason(Event::Ended, code, format!("{what}, and its policy is not to restart it"))
        } else if self.retries >= self.policy.max_retries {
            let cause = format!("{what}, after {} restarts in a row", self.retries);
            Meaning::with_reason(Event::GaveUp, ReasonCode::MaxRetries, cause)
        } else {
            Meaning::with_reason(Event::Died, code, what)
        }
    }

    fn code_of(&self, exit: Exit) -> ReasonCode {
        match exit {
            _ if self.policy.no_restart_exit_codes.has(exit) => ReasonCode::ExitNoRestart,
            _ if self.policy.success_exit_codes.has(exit) => ReasonCode::ExitSuccess,
            Exit::Code(_) => ReasonCode::ExitFailure,
            Exit::Signal(_) => ReasonCode::Killed,
            Exit::Unseen => ReasonCode::Vanished,
        }
    }

    /// The event for the deadline, if it has passed.
    fn expire(&self, now: Now) -> Option<Meaning> {
        self.deadline.filter(|at| *at <= now.monotonic)?;
        match self.state {
            State::Running => {
                Some(Meaning::of(Event::HealthLasted, format!("healthy for {:?}", self.policy.stable_after)))
            }
            State::Stopping => Some(Meaning::of(Event::StopTimedOut, "still running after the stop timeout")),
            State::Backoff => {
                Some(self.defer_or(Meaning::of(Event::BackoffElapsed, format!("started again: {}", self.cause))))
            }
            State::Stopped | State::Waiting | State::Starting | State::Unhealthy | State::Failed => None,
        }
    }

    /// Whether a start is reported or requested although another process may still be alive.
    pub(super) fn contradicts(&self, input: &Input) -> bool {
        match input {
            Input::Spawned(_) | Input::SpawnFailed { .. } => self.process.is_some(),
            Input::Adopted(found) => {
                [self.process, self.remainder].into_iter().flatten().any(|process| process != *found)
            }
            Input::StartRequested(_) | Input::RestartRequested(_) => self.remainder.is_some(),
            Input::StopRequested(_) | Input::SpecChanged(_) | Input::Vanished => false,
            Input::DependencyReady | Input::DependencyLost(_) => false,
            Input::MainGone { .. } | Input::Exited(..) | Input::Unkillable { .. } => false,
            Input::FoundHealthy | Input::FoundBad(_) | Input::Condemned(_) | Input::TimePassed => false,
        }
    }
}
