//! The configured limits of the checks.

use std::time::Duration;

use ops_config::daemon::Readiness;

/// The limits of one agent's checks. An absent limit turns its check off.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckLimits {
    /// The interval between two runs of the checks.
    pub interval: Duration,
    /// The time after a start in which only the exit of the process counts.
    pub start_grace: Duration,
    /// The longest time without a heartbeat. `None`: this agent sends none.
    pub heartbeat_timeout: Option<Duration>,
    /// Whether silence counts before the first heartbeat too. Not for a program that is known to send none.
    pub expects_heartbeats: bool,
    /// Whether only proved heartbeats count.
    pub proof_required: bool,
    /// Whether there is an HTTP endpoint to check.
    pub http: bool,
    /// Whether there is a TCP port to check.
    pub tcp: bool,
    /// Whether there is a program that checks it.
    pub exec: bool,
    /// The time limit of a check of a service.
    pub http_timeout: Duration,
    /// The number of failures in a row from which on such a check is bad.
    pub http_failures: u32,
    /// The greatest age of the status file. `None`: there is none.
    pub state_max_age: Option<Duration>,
    /// The CPU threshold, in percent of the machine. `None`: not limited.
    pub cpu_percent: Option<f64>,
    /// The threshold of resident memory, in bytes. `None`: not limited.
    pub memory_bytes: Option<u64>,
    /// The threshold of open files. `None`: not limited.
    pub open_files: Option<u64>,
    /// How long a threshold may be exceeded.
    pub threshold_duration: Duration,
    /// What ends the start. `None`: that all checks pass.
    pub readiness: Option<Readiness>,
    /// A hash over what is checked: endpoint, port, program and file. What was seen of others says nothing about these.
    pub targets: u64,
}

impl CheckLimits {
    /// Whether a check of it shows that the agent works, besides its process and its heartbeats.
    #[must_use]
    pub(crate) const fn checks_liveness(&self) -> bool {
        self.http || self.tcp || self.exec || self.state_max_age.is_some()
    }

    /// Whether CPU, memory or open files are limited.
    #[must_use]
    pub(crate) const fn limits_resources(&self) -> bool {
        self.cpu_percent.is_some() || self.memory_bytes.is_some() || self.open_files.is_some()
    }
}

impl Default for CheckLimits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            start_grace: Duration::from_secs(10),
            heartbeat_timeout: Some(Duration::from_secs(90)),
            expects_heartbeats: true,
            proof_required: false,
            http: false,
            tcp: false,
            exec: false,
            http_timeout: Duration::from_secs(5),
            http_failures: 3,
            state_max_age: None,
            cpu_percent: Some(50.0),
            memory_bytes: Some(500 * 1024 * 1024),
            open_files: None,
            threshold_duration: Duration::from_secs(60),
            readiness: None,
            targets: 0,
        }
    }
}
