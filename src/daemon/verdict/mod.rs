//! What five signals say about an agent, and what is to be done about it. Pure: evidence and time in, a verdict out.
//!
//! A signal that is unknown is never held against the agent: the daemon may be the one that is blind.

pub(crate) mod evidence;
pub(crate) mod explain;

use std::time::Duration;

pub(crate) use ops_protocol::views::Check;

pub(crate) use evidence::{Evidence, HttpCheckResult, StatusFacts, StatusFileResult, Usage};
pub(crate) use explain::explain;

/// How many HTTP checks have to fail in a row.
pub const HTTP_FAILURES: u32 = 3;

/// What is looked at, and from where on it is bad.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckLimits {
    /// From one look to the next.
    pub interval: Duration,
    /// How long after its start nothing is held against the agent but its own end.
    pub start_grace: Duration,
    /// The longest silence. `None`: this agent sends no heartbeats.
    pub heartbeat_timeout: Option<Duration>,
    /// Whether there is an HTTP endpoint to ask.
    pub http: bool,
    /// The oldest its status file may be. `None`: there is none to look at.
    pub state_max_age: Option<Duration>,
    /// The most CPU, in percent of the machine. `None`: any.
    pub cpu_percent: Option<f64>,
    /// The most resident memory, in bytes. `None`: any.
    pub memory_bytes: Option<u64>,
    /// For how long it may use more than that.
    pub threshold_duration: Duration,
}

impl Default for CheckLimits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            start_grace: Duration::from_secs(10),
            heartbeat_timeout: Some(Duration::from_secs(90)),
            http: false,
            state_max_age: None,
            cpu_percent: Some(50.0),
            memory_bytes: Some(500 * 1024 * 1024),
            threshold_duration: Duration::from_secs(60),
        }
    }
}

/// What one check says. Times are on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckStatus {
    /// The configuration does not ask for it.
    Off,
    /// Good.
    Ok,
    /// Something to be reported, but no reason to restart: the agent says of itself that it is degraded.
    Warning {
        /// What, as a clause: "says that it is degraded".
        what: String,
        /// Since when.
        since: Duration,
    },
    /// Bad.
    Bad {
        /// What, as a clause: "frozen".
        why: String,
        /// Since when.
        since: Duration,
    },
    /// Not known, for whatever reason: never held against the agent.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// One signal, and when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// What the check says.
    pub signal: CheckStatus,
    /// When it was looked at. `None`: not yet.
    pub looked: Option<Duration>,
}

/// The five signals side by side, in the order of [`Check::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckStates(pub [CheckState; 5]);

/// What the signals add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is known that would have to change.
    Nothing,
    /// All that is looked at is good.
    Healthy,
    /// Something is bad, but there is no reason, or no leave, to restart for it.
    LoopEvent,
    /// It has to be restarted.
    Restart,
}

impl CheckStates {
    /// Each check with its reading.
    pub fn iter(&self) -> impl Iterator<Item = (Check, &CheckState)> {
        Check::ALL.into_iter().zip(&self.0)
    }

    /// What the signals add up to. What was seen before `blind_until` (the end of the last hold, from which on the daemon
    /// trusts its own eyes again) is no reason to restart: it has to be looked at again.
    #[must_use]
    pub fn decide(&self, blind_until: Option<Duration>) -> Decision {
        let fresh = |reading: &CheckState| reading.looked.is_some_and(|at| blind_until.is_none_or(|until| at >= until));
        let any = |wanted: fn(&CheckStatus) -> bool| self.0.iter().any(|reading| wanted(&reading.signal));
        let is_bad = |signal: &CheckStatus| matches!(signal, CheckStatus::Bad { .. });
        if self.0.iter().any(|reading| is_bad(&reading.signal) && fresh(reading)) {
            Decision::Restart
        } else if any(|signal| matches!(signal, CheckStatus::Bad { .. } | CheckStatus::Warning { .. })) {
            Decision::LoopEvent
        } else if any(|signal| matches!(signal, CheckStatus::Unknown { .. })) {
            Decision::Nothing
        } else {
            Decision::Healthy
        }
    }

    /// What is bad or to be reported, with its age, for people. Empty if nothing is.
    #[must_use]
    pub fn summary(&self, now: Duration) -> String {
        let complaint = |(check, reading): (Check, &CheckState)| match &reading.signal {
            CheckStatus::Bad { why, since } | CheckStatus::Warning { what: why, since } => {
                Some(explain::clause(check, why, now.saturating_sub(*since)))
            }
            CheckStatus::Off | CheckStatus::Ok | CheckStatus::Unknown { .. } => None,
        };
        self.iter().filter_map(complaint).collect::<Vec<_>>().join(", ")
    }
}
