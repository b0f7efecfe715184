//! One agent as the registry keeps it: its machine, what was seen of its process, and when it is looked after next.

use std::time::Duration;

use statemachine::supervision::{Identity, RestartWhen, State, Supervised};

use super::DesiredAgent;
use crate::daemon::checks::{
    CheckLimits, CheckResult, CheckState, CheckStates, Evidence, HttpCheckResult, ScheduledCheck, process,
};
use crate::daemon::restart_guard::RestartHold;

/// Between two looks at an agent that has still to prove that it works.
const EAGER: Duration = Duration::from_secs(1);

/// One agent.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) machine: Supervised,
    pub(super) limits: CheckLimits,
    /// The hash over the settings that its process is started with.
    pub fingerprint: u64,
    /// Whether the configuration lets it run.
    pub enabled: bool,
    /// The configuration does not name it any more.
    pub(super) removed: bool,
    /// What its process was started with, if that is not what the configuration says now.
    pub(super) outdated: bool,
    /// Nobody has decided yet whether it is to be started.
    pub(super) undecided: bool,
    /// Only of an agent that has a process. Most of an entry's size, so those that have none do without.
    pub(super) evidence: Option<Box<Evidence>>,
    pub(super) newest_incarnation: Option<u64>,
    /// The number of accepted heartbeats.
    pub heartbeats: u64,
    /// The number of heartbeats in its name that were refused.
    pub rejected: u64,
    pub(super) alarm: Option<Duration>,
    next_check: Duration,
}

impl Entry {
    pub(super) fn new(machine: Supervised, wanted: &DesiredAgent) -> Self {
        Self {
            machine,
            limits: wanted.limits.clone(),
            fingerprint: wanted.fingerprint,
            enabled: wanted.enabled,
            removed: false,
            outdated: false,
            undecided: false,
            evidence: None,
            newest_incarnation: None,
            heartbeats: 0,
            rejected: 0,
            alarm: None,
            next_check: Duration::ZERO,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn machine(&self) -> &Supervised {
        &self.machine
    }

    /// What is looked at.
    #[must_use]
    pub const fn limits(&self) -> &CheckLimits {
        &self.limits
    }

    /// Whether the configuration does not name it any more: it is forgotten once it is gone.
    #[must_use]
    pub const fn removed(&self) -> bool {
        self.removed
    }

    /// What was seen of its process.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_deref()
    }

    /// The states of its checks. Without a process, only that one counts.
    #[must_use]
    pub(crate) fn check_states(&self, now: Duration) -> CheckStates {
        if let Some(evidence) = self.evidence.as_ref().filter(|_| self.machine.process().is_some()) {
            return evidence.states(now, &self.limits);
        }
        CheckStates {
            process: CheckState::at(now, process::without_process(&self.machine)),
            heartbeat: CheckState::OFF,
            http: CheckState::OFF,
            status_file: CheckState::OFF,
            resources: CheckState::OFF,
        }
    }

    /// Whether it belongs to those of which more than half make a mass.
    pub(super) fn is_to_run(&self) -> bool {
        self.machine.wanted() && !matches!(self.machine.state(), State::Stopped | State::Failed)
    }

    pub(super) fn restarts_for_a_verdict(&self) -> bool {
        self.machine.policy().when != RestartWhen::Never
    }

    /// Another process, or none any more: nothing of what was seen or heard of the one before counts.
    pub(super) fn begin(&mut self, now: Duration) {
        // Its state directory may be another one, or emptied: the incarnations start over with it.
        self.newest_incarnation = None;
        self.look_anew(now);
    }

    pub(super) fn look_anew(&mut self, now: Duration) {
        self.evidence = self.machine.process().map(|_| Box::new(Evidence::new(now, &self.limits)));
        self.next_check = now + EAGER.min(self.limits.interval);
    }

    /// Whether the signals decide anything now. A process of which nothing is asked but to be there has proved nothing
    /// until its grace is over.
    pub(super) fn is_judged(&self, now: Duration) -> bool {
        let proves = self.limits.heartbeat_timeout.is_some() || self.limits.http || self.limits.state_max_age.is_some();
        self.machine.state().is_judged()
            && self.evidence.as_ref().is_some_and(|evidence| proves || !evidence.in_grace(now))
    }

    /// The process to be looked at now, if it is time. No burst after a stall: the next time counts from now.
    pub(super) fn check_due(&mut self, now: Duration) -> Option<Identity> {
        let process = self.machine.process().filter(|_| self.machine.state().is_judged())?;
        if now < self.next_check {
            return None;
        }
        let eager = self.machine.state() == State::Starting;
        self.next_check = now + if eager { EAGER.min(self.limits.interval) } else { self.limits.interval };
        ScheduledCheck::wanted(&self.limits).next().map(|_| process)
    }

    /// Takes the result of a check. `stalled`: the daemon stood still meanwhile, so a failure may be its own.
    pub(super) fn on_result(&mut self, now: Duration, begun: Duration, result: CheckResult, stalled: bool) {
        let (Some(evidence), Some(process)) = (&mut self.evidence, self.machine.process()) else { return };
        match result {
            CheckResult::Http(HttpCheckResult::Failed(detail)) if stalled => {
                let not_tried = HttpCheckResult::NotTried(format!("{detail}, while the daemon itself stood still"));
                evidence.on_http(now, begun, &self.limits, not_tried);
            }
            CheckResult::Http(result) => evidence.on_http(now, begun, &self.limits, result),
            CheckResult::StatusFile(result) => evidence.on_status_file(now, &self.limits, process.pid, result),
            CheckResult::Resources(sample) => evidence.on_sample(now, &self.limits, sample),
        }
    }

    /// The next moment at which time alone may change something.
    pub(super) fn next_alarm(&self, now: Duration, hold: Option<RestartHold>) -> Option<Duration> {
        let later = |at: &Duration| *at > now;
        let judged = self.machine.state().is_judged() && self.machine.process().is_some();
        let check = judged.then_some(self.next_check.max(now + Duration::from_millis(1)));
        let silence = self.evidence.as_ref().filter(|_| judged).and_then(|evidence| evidence.silent_from(&self.limits));
        let released = hold.filter(|_| judged).map(|hold| hold.since + self.limits.interval);
        [self.machine.deadline(), check, silence.filter(later), released.filter(later)].into_iter().flatten().min()
    }
}
