//! The results of the checks of one agent, and the decision that follows from them. Pure.

use std::fmt;
use std::time::Duration;

use statemachine::supervision::ReasonCode;

use super::heartbeat::NONE_EXPECTED;
use ops_protocol::Elapsed;
use ops_protocol::views::{Check, CheckVerdict};

/// Why a check is bad, or what it warns of. `Display` is the detail that the API shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The process is gone, with what is known of its end.
    Gone(String),
    /// No heartbeat for longer than the timeout.
    Silent,
    /// There has never been a heartbeat.
    NeverReceived,
    /// The agent reports that it is degraded, with its faults where they are known.
    Degraded(Option<String>),
    /// A service failed several times in a row; the last failure.
    ServiceFailed(String),
    /// A program that checks the agent warns; what it says.
    Warned(String),
    /// The status file is no longer refreshed.
    Frozen,
    /// The time stamp of the status file is this far in the future.
    FromFuture(Duration),
    /// There is no status file.
    NoFile,
    /// The status file is damaged, and how.
    Damaged(String),
    /// Another process writes the status file.
    OtherWriter {
        /// The pid in the file.
        writer: u32,
        /// The pid of the agent.
        expected: u32,
    },
    /// CPU, memory or open files are above a threshold; the figures.
    OverThreshold(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(detail)
            | Self::ServiceFailed(detail)
            | Self::Warned(detail)
            | Self::Damaged(detail)
            | Self::OverThreshold(detail) => f.write_str(detail),
            Self::Silent => f.write_str("none"),
            Self::NeverReceived => write!(f, "none received yet ({NONE_EXPECTED})"),
            Self::Degraded(None) => f.write_str("reports that the agent is degraded"),
            Self::Degraded(Some(faults)) => write!(f, "reports that the agent is degraded ({faults})"),
            Self::Frozen => f.write_str("frozen"),
            Self::FromFuture(ahead) => write!(f, "dated {} in the future", Elapsed(*ahead)),
            Self::NoFile => f.write_str("not there"),
            Self::OtherWriter { writer, expected } => write!(f, "written by pid {writer} instead of {expected}"),
        }
    }
}

/// The status of one check. Times are on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckStatus {
    /// It is not configured.
    Off,
    /// Good.
    Ok,
    /// Something to report, but no reason for a restart.
    Warning {
        /// What.
        reason: Reason,
        /// Since when.
        since: Duration,
    },
    /// Bad.
    Bad {
        /// Why.
        reason: Reason,
        /// Since when.
        since: Duration,
    },
    /// Not known yet: never held against the agent.
    Unknown {
        /// Why not, for people.
        detail: String,
    },
    /// The daemon cannot run the check, and that may last: never held against the agent. It is shown as unknown.
    NotPossible {
        /// Why not, for people.
        detail: String,
    },
}

impl CheckStatus {
    /// The status without its details.
    #[must_use]
    pub const fn verdict(&self) -> CheckVerdict {
        match self {
            Self::Off => CheckVerdict::Off,
            Self::Ok => CheckVerdict::Ok,
            Self::Warning { .. } => CheckVerdict::Noted,
            Self::Bad { .. } => CheckVerdict::Bad,
            Self::Unknown { .. } | Self::NotPossible { .. } => CheckVerdict::Unknown,
        }
    }

    /// Whether it is bad.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(self, Self::Bad { .. })
    }

    /// The reason of a bad status or a warning, and since when.
    #[must_use]
    pub const fn finding(&self) -> Option<(&Reason, Duration)> {
        match self {
            Self::Warning { reason, since } | Self::Bad { reason, since } => Some((reason, *since)),
            Self::Off | Self::Ok | Self::Unknown { .. } | Self::NotPossible { .. } => None,
        }
    }

    /// The same status, which began no later than `before` did.
    pub(super) fn continuing(self, before: Option<&Self>) -> Self {
        let began = before.and_then(Self::finding).map(|(_, since)| since);
        let earliest = |since: Duration| began.map_or(since, |began| began.min(since));
        match self {
            Self::Warning { reason, since } => Self::Warning { reason, since: earliest(since) },
            Self::Bad { reason, since } => Self::Bad { reason, since: earliest(since) },
            other @ (Self::Off | Self::Ok | Self::Unknown { .. } | Self::NotPossible { .. }) => other,
        }
    }
}

/// The status of one check, and when it last ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// The status.
    pub status: CheckStatus,
    /// When it last ran. `None`: not yet.
    pub checked_at: Option<Duration>,
}

impl CheckState {
    pub(crate) const OFF: Self = Self { status: CheckStatus::Off, checked_at: None };

    pub(crate) const fn at(now: Duration, status: CheckStatus) -> Self {
        Self { status, checked_at: Some(now) }
    }
}

/// The checks of one agent, in the order of [`Check::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckStates {
    /// Whether the process is alive.
    pub process: CheckState,
    /// Whether heartbeats arrive.
    pub heartbeat: CheckState,
    /// Whether the HTTP endpoint answers.
    pub http: CheckState,
    /// Whether the TCP port accepts connections.
    pub tcp: CheckState,
    /// Whether its program finds it good.
    pub exec: CheckState,
    /// Whether the status file is fresh.
    pub status_file: CheckState,
    /// Whether the thresholds are kept.
    pub resources: CheckState,
}

/// What follows from the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing changes: too little is known.
    Nothing,
    /// Every check that can be run is good. The daemon cannot run the others, and that may last.
    HealthyAsFarAsKnown,
    /// Every check that is on is good.
    Healthy,
    /// Something is bad or noted, but it is no reason for a restart, or not yet.
    Report,
    /// The agent has to be restarted.
    Restart,
}

impl CheckStates {
    /// The states of an agent of which only the process is checked.
    #[must_use]
    pub(crate) const fn of_process(process: CheckState) -> Self {
        Self {
            process,
            heartbeat: CheckState::OFF,
            http: CheckState::OFF,
            tcp: CheckState::OFF,
            exec: CheckState::OFF,
            status_file: CheckState::OFF,
            resources: CheckState::OFF,
        }
    }

    /// The state of one check.
    #[must_use]
    pub const fn get(&self, check: Check) -> &CheckState {
        match check {
            Check::Process => &self.process,
            Check::Heartbeat => &self.heartbeat,
            Check::Http => &self.http,
            Check::Tcp => &self.tcp,
            Check::Exec => &self.exec,
            Check::StatusFile => &self.status_file,
            Check::Resources => &self.resources,
        }
    }

    /// Each check with its state.
    pub fn iter(&self) -> impl Iterator<Item = (Check, &CheckState)> {
        Check::ALL.into_iter().map(|check| (check, self.get(check)))
    }

    /// The liveness checks, each with its state.
    pub(super) fn liveness(&self) -> impl Iterator<Item = (Check, &CheckState)> {
        self.iter().filter(|(check, _)| check.is_of_liveness())
    }

    /// Whether every liveness check that is on is bad, and at least one is on.
    #[must_use]
    pub fn hangs(&self) -> bool {
        let mut on = self.liveness().filter(|(_, state)| state.status != CheckStatus::Off).peekable();
        on.peek().is_some() && on.all(|(_, state)| state.status.is_bad())
    }

    /// The code of the first check that is bad, as the reason of a restart.
    #[must_use]
    pub fn code(&self) -> ReasonCode {
        let bad = self.iter().find(|(_, state)| state.status.is_bad()).map(|(check, _)| check);
        match bad {
            Some(Check::Heartbeat) => ReasonCode::Heartbeat,
            Some(Check::Http) => ReasonCode::Http,
            Some(Check::Tcp) => ReasonCode::Tcp,
            Some(Check::Exec) => ReasonCode::Exec,
            Some(Check::StatusFile) => ReasonCode::StatusFile,
            Some(Check::Resources) => ReasonCode::Resources,
            Some(Check::Process) | None => ReasonCode::Vanished,
        }
    }

    /// What follows from the checks. What was seen before `trusted_from`, the end of the last hold, is no reason for a
    /// restart: it has to be checked again.
    #[must_use]
    pub fn decide(&self, trusted_from: Option<Duration>) -> Decision {
        let is_trusted = |state: &CheckState| match (state.checked_at, trusted_from) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(at), Some(from)) => at >= from,
        };
        let any = |wanted: fn(&CheckStatus) -> bool| self.iter().any(|(_, state)| wanted(&state.status));
        if self.iter().any(|(_, state)| state.status.is_bad() && is_trusted(state)) {
            Decision::Restart
        } else if any(|status| status.finding().is_some()) {
            Decision::Report
        } else if any(|status| matches!(status, CheckStatus::Unknown { .. })) {
            Decision::Nothing
        } else if any(|status| matches!(status, CheckStatus::NotPossible { .. })) {
            Decision::HealthyAsFarAsKnown
        } else {
            Decision::Healthy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn only(check: CheckState) -> CheckStates {
        CheckStates { status_file: check, ..CheckStates::of_process(CheckState::at(SECOND, CheckStatus::Ok)) }
    }

    #[test]
    fn what_was_seen_before_the_end_of_a_hold_restarts_nothing() {
        let frozen = |at| only(CheckState::at(at, CheckStatus::Bad { reason: Reason::Frozen, since: Duration::ZERO }));
        let end_of_hold = Some(SECOND * 10);
        assert_eq!(frozen(SECOND * 9).decide(end_of_hold), Decision::Report, "check again first");
        assert_eq!(frozen(SECOND * 10).decide(end_of_hold), Decision::Restart);
        assert_eq!(frozen(SECOND * 9).decide(None), Decision::Restart);
    }

    #[test]
    fn a_warning_is_reported_and_the_unknown_decides_nothing() {
        let warning = CheckStatus::Warning { reason: Reason::Degraded(None), since: SECOND };
        assert_eq!(only(CheckState::at(SECOND, warning)).decide(None), Decision::Report);
        let unknown = CheckStatus::Unknown { detail: "not checked yet".to_owned() };
        assert_eq!(only(CheckState::at(SECOND, unknown)).decide(None), Decision::Nothing);
        let not_possible = CheckStatus::NotPossible { detail: "the disk hangs".to_owned() };
        assert_eq!(only(CheckState::at(SECOND, not_possible)).decide(None), Decision::HealthyAsFarAsKnown);
        assert_eq!(only(CheckState::OFF).decide(None), Decision::Healthy);
    }
}
