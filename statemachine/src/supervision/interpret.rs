//! Turns inputs into events of the table.

use super::identity::Identity;
use super::input::Input;
use super::machine::{STOP_GRACE, Supervised};
use super::policy::{EXIT_CONFIG, Exit, RestartWhen, STABLE_AFTER};
use super::saved::Ending;
use super::transition::{Event, State};
use crate::time::Now;

impl Supervised {
    /// Turns an input into an event of the table. `None`: it brings nothing new.
    pub(super) fn interpret(&self, now: Now, input: &Input) -> Option<(Event, String)> {
        Some(match input {
            Input::StartRequested(by) => (Event::StartRequested, by.clone()),
            Input::StopRequested(by) => (Event::StopRequested, by.clone()),
            Input::RestartRequested(by) => (Event::RestartRequested, by.clone()),
            Input::SpecChanged(_) => {
                self.wanted.then(|| (Event::RestartRequested, "its configuration changed".to_owned()))?
            }
            Input::Spawned(process) => (Event::Spawned, format!("{process} started")),
            Input::SpawnFailed { reason, own_fault } => {
                let cause = format!("could not be started: {reason}");
                if *own_fault && self.wanted { (Event::Died, cause) } else { self.end(None, cause) }
            }
            Input::Adopted(process) if self.wanted => (Event::Adopted, format!("{process} adopted")),
            Input::Adopted(process) => (Event::StrayFound, format!("{process} found, but it has to be stopped")),
            Input::Vanished => {
                self.state.has_process().then(|| self.end(Some(Exit::Unseen), Exit::Unseen.to_string()))?
            }
            Input::MainGone { process, exit, left, daemonized } => {
                (self.process == Some(*process)).then(|| main_gone(*process, *exit, *left, *daemonized))?
            }
            Input::Exited(process, exit) => (self.process == Some(*process)).then(|| {
                let exit = self.main_exit.unwrap_or(*exit);
                self.end(Some(exit), format!("{process} {exit}"))
            })?,
            Input::FoundHealthy => (Event::FoundHealthy, "all checks pass".to_owned()),
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
        } else if self.ending == Ending::Daemonized {
            (Event::GaveUp, format!("{what} and went to the background: run it in the foreground"))
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
            State::Running => Some((Event::HealthLasted, format!("healthy for {STABLE_AFTER:?}"))),
            State::Stopping => Some((Event::StopTimedOut, format!("still running after {STOP_GRACE:?}"))),
            State::Backoff => Some((Event::BackoffElapsed, format!("started again: {}", self.cause))),
            State::Stopped | State::Starting | State::Unhealthy | State::Failed => None,
        }
    }

    /// Whether a start is reported although another process may still be alive.
    pub(super) fn contradicts(&self, input: &Input) -> bool {
        match input {
            Input::Spawned(_) | Input::SpawnFailed { .. } => self.process.is_some(),
            Input::Adopted(found) => self.process.is_some_and(|process| process != *found),
            Input::StartRequested(_) | Input::StopRequested(_) | Input::RestartRequested(_) => false,
            Input::SpecChanged(_) | Input::Vanished | Input::MainGone { .. } | Input::Exited(..) => false,
            Input::FoundHealthy | Input::FoundBad(_) | Input::Condemned(_) | Input::TimePassed => false,
        }
    }
}

/// The event for the exit of the main process of a tree in which others are left.
fn main_gone(process: Identity, exit: Exit, left: usize, daemonized: bool) -> (Event, String) {
    let count = if left == 1 { "1 process".to_owned() } else { format!("{left} processes") };
    if daemonized {
        (Event::Daemonized, format!("{process} {exit} and left {count} in the background, which are stopped"))
    } else {
        (Event::MainGone, format!("{process} {exit} and left {count}, which are stopped"))
    }
}
