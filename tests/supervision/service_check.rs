//! The one check of a service that each agent of the simulation has: of an HTTP endpoint, of a TCP port, or by a program.

use std::time::Duration;

use ops_agent::testing::daemon::checks::{
    CHECK_TIMEOUT, CheckLimits, CheckResult, ExecCheckResult, HttpCheckResult, TcpCheckResult,
};
use statemachine::supervision::ReasonCode;

/// What a service shows to any check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Works,
    /// It works, and reports that it is degraded.
    IsDegraded,
    Fails(&'static str),
    /// The check ends at its time limit.
    Hangs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceCheck {
    Http,
    Tcp,
    Exec,
}

impl ServiceCheck {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Tcp, Self::Exec];

    /// That of an agent.
    pub(super) const fn of(agent: usize) -> Self {
        Self::ALL[agent % Self::ALL.len()]
    }

    /// The limits with this check.
    pub(super) fn limits(self, limits: CheckLimits) -> CheckLimits {
        CheckLimits { http: self == Self::Http, tcp: self == Self::Tcp, exec: self == Self::Exec, ..limits }
    }

    /// The code of its verdicts.
    pub(super) const fn code(self) -> ReasonCode {
        match self {
            Self::Http => ReasonCode::Http,
            Self::Tcp => ReasonCode::Tcp,
            Self::Exec => ReasonCode::Exec,
        }
    }

    pub(super) fn result(self, service: Service) -> CheckResult {
        let late = || format!("does not answer within {} s", CHECK_TIMEOUT.as_secs());
        match (self, service) {
            (Self::Http, Service::Works) => CheckResult::Http(HttpCheckResult::Answered),
            (Self::Http, Service::IsDegraded) => CheckResult::Http(HttpCheckResult::Degraded),
            (Self::Http, Service::Fails(why)) => CheckResult::Http(HttpCheckResult::Failed(why.to_owned())),
            (Self::Http, Service::Hangs) => CheckResult::Http(HttpCheckResult::Failed(late())),
            (Self::Tcp, Service::Works | Service::IsDegraded) => CheckResult::Tcp(TcpCheckResult::Accepted),
            (Self::Tcp, Service::Fails(why)) => CheckResult::Tcp(TcpCheckResult::Failed(why.to_owned())),
            (Self::Tcp, Service::Hangs) => CheckResult::Tcp(TcpCheckResult::Failed(late())),
            (Self::Exec, Service::Works) => CheckResult::Exec(ExecCheckResult::Passed),
            (Self::Exec, Service::IsDegraded) => CheckResult::Exec(ExecCheckResult::Warned("degraded".to_owned())),
            (Self::Exec, Service::Fails(why)) => CheckResult::Exec(ExecCheckResult::Failed(why.to_owned())),
            (Self::Exec, Service::Hangs) => CheckResult::Exec(ExecCheckResult::Failed(late())),
        }
    }

    /// The daemon cannot check it.
    pub(super) fn not_tried(self) -> CheckResult {
        let why = "too many open files".to_owned();
        match self {
            Self::Http => CheckResult::Http(HttpCheckResult::NotTried(why)),
            Self::Tcp => CheckResult::Tcp(TcpCheckResult::NotTried(why)),
            Self::Exec => CheckResult::Exec(ExecCheckResult::NotTried(why)),
        }
    }

    /// The result that the event loop has instead of one that comes after the time limit, also because the daemon stalled. A
    /// program has a time limit of its own.
    pub(super) fn given_up(self, after: Duration) -> Option<CheckResult> {
        (self != Self::Exec && after >= CHECK_TIMEOUT).then(|| self.result(Service::Hangs))
    }
}
