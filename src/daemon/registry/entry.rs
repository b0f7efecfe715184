//! One agent in the registry: its machine, the evidence about its process, and when it has to be judged next.

use std::time::Duration;

use statemachine::supervision::{Exit, Identity, Reason, RecordedReason, RestartWhen, State, Supervised};

use super::refused::RefusedHeartbeats;
use super::{AgentId, DesiredAgent};
use crate::daemon::checks::{
    CheckLimits, CheckResult, CheckState, CheckStates, CheckStatus, Evidence, ExecCheckResult, HttpCheckResult,
    ScheduledCheck, TcpCheckResult, process,
};
use crate::daemon::restart_guard::RestartHold;

/// The check interval of an agent that has not proved yet that it works, if the configured one is longer.
const STARTING_INTERVAL: Duration = Duration::from_secs(1);

/// Checks that are at least a second away begin at multiples of a tick: this part of the wait, from [`MIN_TICK`] to [`MAX_TICK`].
/// So agents that were started shortly after each other share one turn of the loop.
const TICKS: u32 = 20;
const MIN_TICK: Duration = Duration::from_millis(100);
/// Less than a stall: a loop that wakes up a tick late has not stalled.
const MAX_TICK: Duration = Duration::from_millis(500);

/// When the check begins that is due `wait` from now, or up to a tick before.
fn check_after(now: Duration, wait: Duration) -> Duration {
    let at = now + wait;
    let tick = (wait / TICKS).clamp(MIN_TICK, MAX_TICK);
    let past_tick = Duration::from_nanos((at.as_nanos() % tick.as_nanos()) as u64);
    if wait < Duration::from_secs(1) { at } else { at - past_tick }
}

/// One agent.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) machine: Supervised,
    pub(super) limits: CheckLimits,
    /// The hash over the settings that its process is started with.
    pub fingerprint: u64,
    /// Whether the configuration lets it run.
    pub enabled: bool,
    /// The agents that have to be Running before it is started.
    pub(super) depends_on: Box<[AgentId]>,
    /// It is stopped for this reason when the agents that depend on it have ended.
    pub(super) stop_after: Option<Box<Reason>>,
    /// Restarts for bad checks are held until an operator releases it.
    pub(super) hold: Option<Box<RecordedReason>>,
    /// It is no longer configured.
    pub(super) removed: bool,
    /// Its process was started with settings that have changed since.
    pub(super) outdated: bool,
    /// It has not been decided yet whether to start it.
    pub(super) undecided: bool,
    /// Why it cannot be told yet whether its process of an earlier daemon is alive. Until then, nothing is started.
    pub(super) unproved: Option<Box<str>>,
    /// Only for an agent with a process. Boxed, because it is most of an entry's size.
    pub(super) evidence: Option<Box<Evidence>>,
    pub(super) newest_incarnation: Option<u64>,
    /// Whether the present process has sent a proved heartbeat.
    pub(super) has_proved: bool,
    /// Whether the present process has shown that it is ready, or was Running.
    pub(super) is_ready: bool,
    /// What it has said of itself with `STATUS=` or `STOPPING=1`.
    pub(super) said: Option<Box<str>>,
    /// The number of accepted heartbeats.
    pub heartbeats: u64,
    /// The heartbeats in its name that were refused.
    pub(super) refused: RefusedHeartbeats,
    /// The last output lines of a process that has ended.
    pub(super) last_output: Option<(Identity, Vec<String>)>,
    /// The processes that the last stop left running on purpose, for people.
    pub(super) released: Option<String>,
    /// What another program has done to its log, for people.
    pub(super) log_change: Option<&'static str>,
    pub(super) deadline: Option<Duration>,
    /// When it last ended by itself or was restarted for a verdict.
    pub(super) failed_at: Option<Duration>,
    next_check: Duration,
}

impl Entry {
    pub(super) fn new(machine: Supervised, wanted: &DesiredAgent) -> Self {
        Self {
            machine,
            limits: wanted.limits.clone(),
            fingerprint: wanted.fingerprint,
            enabled: wanted.enabled,
            depends_on: wanted.depends_on.clone(),
            stop_after: None,
            hold: None,
            removed: false,
            outdated: false,
            undecided: false,
            unproved: None,
            evidence: None,
            newest_incarnation: None,
            has_proved: false,
            is_ready: false,
            said: None,
            heartbeats: 0,
            refused: RefusedHeartbeats::default(),
            last_output: None,
            released: None,
            log_change: None,
            deadline: None,
            failed_at: None,
            next_check: Duration::ZERO,
        }
    }

    /// Its state machine.
    #[must_use]
    pub const fn machine(&self) -> &Supervised {
        &self.machine
    }

    /// The limits of its checks.
    #[must_use]
    pub const fn limits(&self) -> &CheckLimits {
        &self.limits
    }

    /// Whether it is no longer configured. It is removed once it is stopped.
    #[must_use]
    pub const fn removed(&self) -> bool {
        self.removed
    }

    /// The evidence about its process.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_deref()
    }

    /// The states of its checks. Without a process, only that one counts.
    #[must_use]
    pub(crate) fn check_states(&self, now: Duration) -> CheckStates {
        let process = match (&self.unproved, &self.evidence) {
            (Some(why), _) => CheckStatus::Unknown { detail: why.to_string() },
            (None, Some(evidence)) if self.machine.process().is_some() => return evidence.states(now, &self.limits),
            (None, _) => process::without_process(&self.machine),
        };
        CheckStates::of_process(CheckState::at(now, process))
    }

    /// Whether it is meant to run.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.enabled && !self.removed && self.machine.wanted()
    }

    /// Whether an exit that leaves processes behind means that the program went to the background.
    pub(super) fn went_to_background(&self, now: Duration, exit: Exit) -> bool {
        let in_grace = self.evidence.as_ref().is_some_and(|evidence| evidence.in_grace(now));
        exit == Exit::Code(0) && in_grace && self.machine.state().is_judged()
    }

    /// Since when restarts for bad checks are held, and who ordered it.
    #[must_use]
    pub fn hold(&self) -> Option<&RecordedReason> {
        self.hold.as_deref()
    }

    /// The number of heartbeats in its name that were refused.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.refused.total()
    }

    /// The last output lines of its latest process that has ended.
    #[must_use]
    pub fn last_output(&self) -> &[String] {
        let ended = self.machine.last_exit().map(|last| last.process);
        self.last_output.as_ref().filter(|(process, _)| Some(*process) == ended).map_or(&[], |(_, lines)| lines)
    }

    /// How long its stop may take until SIGKILL. Zero without a process.
    #[must_use]
    pub(crate) fn stop_timeout(&self) -> Duration {
        self.machine.process().map_or(Duration::ZERO, |_| self.machine.policy().stop.timeout)
    }

    /// Whether it hangs: every liveness check that it has is bad.
    pub(super) fn hangs(&self, now: Duration) -> bool {
        self.machine.state().is_judged() && self.check_states(now).hangs()
    }

    pub(super) fn restarts_for_a_verdict(&self) -> bool {
        self.machine.policy().when != RestartWhen::Never
    }

    /// The agent has another process, or none. Evidence and incarnation of the one before do not count any more.
    pub(super) fn begin(&mut self, now: Duration) {
        // The state directory may have been emptied, so incarnations may start over.
        self.newest_incarnation = None;
        self.has_proved = false;
        self.is_ready = false;
        self.said = None;
        self.reset_evidence(now);
    }

    /// Applies settings that concern the running process.
    pub(super) fn adjust(&mut self, now: Duration, wanted: &DesiredAgent) {
        if self.limits.targets != wanted.limits.targets
            && let Some(evidence) = &mut self.evidence
        {
            evidence.forget_targets(now);
        }
        self.limits = wanted.limits.clone();
        self.depends_on = wanted.depends_on.clone();
        self.next_check = self.next_check.min(check_after(now, self.limits.interval));
        self.machine.set_policy(wanted.policy);
    }

    pub(super) fn reset_evidence(&mut self, now: Duration) {
        self.evidence = self.machine.process().map(|_| Box::new(Evidence::new(now, &self.limits)));
        self.next_check = check_after(now, STARTING_INTERVAL.min(self.limits.interval));
    }

    /// Why it cannot be told yet whether its process of an earlier daemon is alive.
    #[must_use]
    pub fn unproved(&self) -> Option<&str> {
        self.unproved.as_deref()
    }

    /// Whether its checks decide now. A process without liveness checks has proved nothing before the start grace is over.
    pub(super) fn is_judged(&self, now: Duration) -> bool {
        let proves =
            |evidence: &Evidence| evidence.heartbeat_timeout(&self.limits).is_some() || self.limits.checks_liveness();
        let evidence = self.evidence.as_deref();
        let is_judged = self.machine.state().is_judged() && self.unproved.is_none();
        let has_its_time = self.limits.readiness.is_some();
        is_judged && evidence.is_some_and(|evidence| has_its_time || proves(evidence) || !evidence.in_grace(now))
    }

    /// The process whose checks are due. The next time counts from now, so there is no burst after a stall.
    pub(super) fn check_due(&mut self, now: Duration) -> Option<Identity> {
        let process = self.machine.process().filter(|_| self.machine.state().is_judged())?;
        if now < self.next_check {
            return None;
        }
        let is_starting = self.machine.state() == State::Starting;
        let wait = if is_starting { STARTING_INTERVAL.min(self.limits.interval) } else { self.limits.interval };
        self.next_check = check_after(now, wait);
        ScheduledCheck::configured(&self.limits).next().map(|_| process)
    }

    /// Takes the result of a check. `stalled`: the daemon stalled meanwhile, so a failure may be its own.
    pub(super) fn on_result(&mut self, now: Duration, begun: Duration, result: CheckResult, stalled: bool) {
        let (Some(evidence), Some(process)) = (&mut self.evidence, self.machine.process()) else { return };
        let own_fault = |detail: String| format!("{detail}, while the daemon itself stalled");
        match result {
            CheckResult::Http(HttpCheckResult::Failed(detail)) if stalled => {
                evidence.on_http(now, begun, &self.limits, HttpCheckResult::NotTried(own_fault(detail)));
            }
            CheckResult::Http(result) => {
                let passed = result == HttpCheckResult::Answered;
                evidence.on_http(now, begun, &self.limits, result);
                if passed {
                    self.on_passed_http_check(now);
                }
            }
            CheckResult::Tcp(TcpCheckResult::Failed(detail)) if stalled => {
                evidence.on_tcp(now, begun, &self.limits, TcpCheckResult::NotTried(own_fault(detail)));
            }
            CheckResult::Exec(ExecCheckResult::Failed(detail)) if stalled => {
                evidence.on_exec(now, begun, &self.limits, ExecCheckResult::NotTried(own_fault(detail)));
            }
            CheckResult::Exec(result) => evidence.on_exec(now, begun, &self.limits, result),
            CheckResult::Tcp(result) => evidence.on_tcp(now, begun, &self.limits, result),
            CheckResult::StatusFile(result) => evidence.on_status_file(now, &self.limits, process.pid, result),
            CheckResult::Resources(sample) => evidence.on_sample(now, &self.limits, sample),
        }
    }

    /// The next moment at which time alone may change a decision.
    pub(super) fn next_deadline(&self, now: Duration, hold: Option<RestartHold>) -> Option<Duration> {
        let later = |at: &Duration| *at > now;
        if self.unproved.is_some() {
            return None;
        }
        let judged = self.machine.state().is_judged() && self.machine.process().is_some();
        let check = judged.then_some(self.next_check.max(now + Duration::from_millis(1)));
        let silence = self.evidence.as_ref().filter(|_| judged).and_then(|evidence| evidence.silent_from(&self.limits));
        let released = hold.filter(|_| judged).map(|hold| hold.since + self.limits.interval);
        [self.machine.deadline(), check, silence.filter(later), released.filter(later)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_of_agents_that_started_shortly_after_each_other_begin_together() {
        let milliseconds = Duration::from_millis;
        let wait = Duration::from_secs(10);
        assert_eq!(check_after(milliseconds(5_001), wait), milliseconds(15_000));
        assert_eq!(check_after(milliseconds(5_499), wait), milliseconds(15_000));
        assert_eq!(check_after(milliseconds(15_000), wait), milliseconds(25_000), "the interval stays the same");
        assert_eq!(check_after(milliseconds(5_499), wait * 3), milliseconds(35_000));
        assert_eq!(check_after(milliseconds(5_500), wait * 3), milliseconds(35_500));
        assert_eq!(check_after(milliseconds(5_099), wait / 10), milliseconds(6_000));
        assert_eq!(check_after(milliseconds(5_100), wait / 10), milliseconds(6_100));
        assert_eq!(check_after(milliseconds(5_250), milliseconds(50)), milliseconds(5_300), "a short wait is exact");
    }
}
