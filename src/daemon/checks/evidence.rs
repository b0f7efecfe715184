//! The evidence about one process, and how each check judges it. Pure.

use std::time::Duration;

use super::exec::ExecCheckResult;
use super::heartbeat::{self, LastHeartbeat};
use super::http::HttpCheckResult;
use super::resources::{ResourceEvidence, SampleError, Usage};
use super::service::ServiceEvidence;
use super::status_file::{StatusFileEvidence, StatusFileResult};
use super::tcp::TcpCheckResult;
use super::{CheckLimits, CheckState, CheckStates, CheckStatus, Trouble};

/// The evidence about one process since it was started or adopted. Times are on the monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    begun: Duration,
    /// Until then only the exit of the process counts.
    grace_until: Duration,
    heartbeat: Option<LastHeartbeat>,
    http: ServiceEvidence,
    tcp: ServiceEvidence,
    exec: ServiceEvidence,
    status_file: StatusFileEvidence,
    resources: ResourceEvidence,
}

impl Evidence {
    /// No evidence yet, for a process that was started or adopted at `now`.
    #[must_use]
    pub fn new(now: Duration, limits: &CheckLimits) -> Self {
        Self {
            begun: now,
            grace_until: now + limits.start_grace,
            heartbeat: None,
            http: ServiceEvidence::default(),
            tcp: ServiceEvidence::default(),
            exec: ServiceEvidence::default(),
            status_file: StatusFileEvidence::new(now),
            resources: ResourceEvidence::default(),
        }
    }

    /// What is checked, such as an endpoint or a file, is another one from now on.
    pub(crate) fn forget_targets(&mut self, now: Duration) {
        self.http = ServiceEvidence::default();
        self.tcp = ServiceEvidence::default();
        self.exec = ServiceEvidence::default();
        self.status_file = StatusFileEvidence::new(now);
    }

    /// When the last heartbeat was accepted.
    #[must_use]
    pub(crate) fn last_heartbeat(&self) -> Option<Duration> {
        self.heartbeat.map(|last| last.at)
    }

    /// What the process used when it was last sampled.
    #[must_use]
    pub(crate) const fn usage(&self) -> Option<Usage> {
        self.resources.usage()
    }

    /// From when on silence is bad, unless a heartbeat arrives.
    #[must_use]
    pub(crate) fn silent_from(&self, limits: &CheckLimits) -> Option<Duration> {
        Some(heartbeat::silent_from(self.heartbeat, self.grace_until, self.heartbeat_timeout(limits)?))
    }

    /// The longest time without a heartbeat. `None`: silence does not count, or not yet.
    #[must_use]
    pub(crate) fn heartbeat_timeout(&self, limits: &CheckLimits) -> Option<Duration> {
        limits.heartbeat_timeout.filter(|_| limits.expects_heartbeats || self.heartbeat.is_some())
    }

    /// When the process was started or adopted.
    #[must_use]
    pub(crate) const fn begun(&self) -> Duration {
        self.begun
    }

    /// The process has shown that it is ready, so its start grace ends now.
    pub(crate) const fn end_grace(&mut self, now: Duration) {
        self.grace_until = now;
    }

    /// Whether the process is in its start grace.
    #[must_use]
    pub(crate) fn in_grace(&self, now: Duration) -> bool {
        now < self.grace_until
    }

    /// A heartbeat was accepted.
    pub fn on_heartbeat(&mut self, now: Duration, degraded: bool) {
        self.heartbeat = Some(LastHeartbeat::new(now, degraded, self.heartbeat));
    }

    /// An HTTP check that began at `begun` has ended.
    pub fn on_http(&mut self, now: Duration, begun: Duration, limits: &CheckLimits, result: HttpCheckResult) {
        let in_grace = self.in_grace(now);
        self.http.record(now, begun, limits, in_grace, result.into());
    }

    /// A TCP check that began at `begun` has ended.
    pub fn on_tcp(&mut self, now: Duration, begun: Duration, limits: &CheckLimits, result: TcpCheckResult) {
        let in_grace = self.in_grace(now);
        self.tcp.record(now, begun, limits, in_grace, result.into());
    }

    /// The program of a check, which began at `begun`, has ended.
    pub fn on_exec(&mut self, now: Duration, begun: Duration, limits: &CheckLimits, result: ExecCheckResult) {
        let in_grace = self.in_grace(now);
        self.exec.record(now, begun, limits, in_grace, result.into());
    }

    /// The status file was checked. `pid` is the agent's.
    pub fn on_status_file(&mut self, now: Duration, limits: &CheckLimits, pid: u32, result: StatusFileResult) {
        let in_grace = self.in_grace(now);
        self.status_file.record(now, limits.state_max_age, in_grace, pid, result);
    }

    /// CPU, memory and open files were sampled.
    pub fn on_sample(&mut self, now: Duration, limits: &CheckLimits, sample: Result<Usage, SampleError>) {
        let in_grace = self.in_grace(now);
        self.resources.record(now, limits, in_grace, sample);
    }

    /// The checks that are bad or late at this moment. None is during the start grace.
    pub(crate) fn troubles(&self, now: Duration, limits: &CheckLimits) -> impl Iterator<Item = Trouble> {
        let heartbeat = heartbeat::trouble(now, self.heartbeat_timeout(limits), self.heartbeat, self.grace_until);
        let http = self.http.trouble(limits).filter(|_| limits.http);
        let tcp = self.tcp.trouble(limits).filter(|_| limits.tcp);
        let exec = self.exec.trouble(limits).filter(|_| limits.exec);
        let status_file = self.status_file.trouble(limits.state_max_age).filter(|_| limits.state_max_age.is_some());
        let resources = self.resources.trouble().filter(|_| limits.limits_resources());
        let has_begun = !self.in_grace(now);
        [heartbeat, http, tcp, exec, status_file, resources].into_iter().flatten().filter(move |_| has_begun)
    }

    /// The states of all checks at this moment, for a process that is alive.
    #[must_use]
    pub fn states(&self, now: Duration, limits: &CheckLimits) -> CheckStates {
        let shown = |wanted: bool, state: Option<&CheckState>| match state {
            _ if !wanted => CheckState::OFF,
            None => {
                CheckState { status: CheckStatus::Unknown { detail: "not checked yet".to_owned() }, checked_at: None }
            }
            Some(state) => expire(now, limits, state),
        };
        CheckStates {
            process: CheckState::at(now, CheckStatus::Ok),
            heartbeat: heartbeat::judge(now, self.heartbeat_timeout(limits), self.heartbeat, self.grace_until),
            http: shown(limits.http, self.http.state()),
            tcp: shown(limits.tcp, self.tcp.state()),
            exec: shown(limits.exec, self.exec.state()),
            status_file: shown(limits.state_max_age.is_some(), self.status_file.state()),
            resources: shown(limits.limits_resources(), self.resources.state()),
        }
    }
}

/// A result expires if the daemon has not checked again for a long time.
fn expire(now: Duration, limits: &CheckLimits, state: &CheckState) -> CheckState {
    let longest = limits.interval * 3 + Duration::from_secs(10);
    match state.checked_at.map(|at| now.saturating_sub(at)) {
        Some(age) if age > longest => {
            let detail = format!("not checked for {} s", age.as_secs());
            CheckState { status: CheckStatus::Unknown { detail }, checked_at: state.checked_at }
        }
        _ => state.clone(),
    }
}
