//! The memory that the table does not have: the process, the retries, the deadline, the history.

use std::time::Duration;

use super::exit::{Exit, LastExit};
use super::input::{Input, Transition};
use super::machine::{HISTORY, Supervised};
use super::saved::Ending;
use super::transition::{Event, State};
use crate::time::Now;

impl Supervised {
    /// Updates the memory that the table does not have.
    pub(super) fn remember(&mut self, now: Now, event: Event, input: &Input) {
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
            Event::StartDeferred if *input == Input::TimePassed => self.count_restart(),
            Event::StartDeferred => {
                self.wanted = true;
                self.retries = 0;
            }
            Event::DependencyReady => self.missing = None,
            Event::DependencyLost => {
                if let Input::DependencyLost(missing) = input {
                    self.missing = Some(missing.clone());
                }
            }
            Event::Condemned => self.ending = Ending::Condemned,
            Event::HealthLasted => {
                self.retries = 0;
                self.deadline = None;
            }
            Event::BackoffElapsed => self.count_restart(),
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
            Event::Unkillable => self.remainder = self.process.take(),
            Event::RemainderGone => self.remainder = None,
            Event::Ended | Event::Died | Event::GaveUp => {
                let seen = if let Input::Exited(_, exit) = input { *exit } else { Exit::Unseen };
                if let Some(process) = self.process.take() {
                    let exit = self.main_exit.unwrap_or(seen);
                    self.last_exit = Some(LastExit { process, exit, at: now.wall });
                }
                self.main_exit = None;
                self.signalled = None;
                if matches!(input, Input::SpawnFailed { own_fault: true, .. }) && self.ending == Ending::Own {
                    self.ending = Ending::DaemonsFault;
                }
            }
            Event::FoundHealthy | Event::FoundBad | Event::StopTimedOut | Event::RemainderFound => {}
        }
    }

    pub(super) fn enter(&mut self, now: Now, to: State, event: Event, cause: String) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.cause.clone_from(&cause);
        self.deadline = match to {
            State::Running => (self.retries > 0).then(|| now.monotonic + self.policy.stable_after),
            State::Stopping => Some(now.monotonic + self.policy.stop.grace(self.hangs)),
            State::Backoff => Some(now.monotonic + self.back_off()),
            State::Stopped | State::Waiting | State::Starting | State::Unhealthy | State::Failed => None,
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

    fn count_restart(&mut self) {
        self.restarts += 1;
        if let Some(recorded) = &self.reason {
            *self.restarts_by_reason.entry(recorded.reason.code).or_default() += 1;
        }
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
