//! Whether and when an agent whose process is gone is restarted.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time of health after which earlier restarts are forgotten.
pub const STABLE_AFTER: Duration = Duration::from_secs(5 * 60);

/// The exit code for a bad configuration (`EX_CONFIG` of sysexits.h). A restart cannot help.
pub const EXIT_CONFIG: i32 = 78;

/// In which cases an agent is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartWhen {
    /// After every exit.
    Always,
    /// After every exit but code 0.
    OnFailure,
    /// Never. A bad check is then only reported.
    Never,
}

/// The restart policy of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// In which cases it is restarted.
    pub when: RestartWhen,
    /// The number of restarts in a row before it is Failed.
    pub max_retries: u32,
    /// The second and third wait. The two after them are three times as long. The first restart comes at once.
    pub backoff_base: Duration,
    /// The longest wait, and every one from the sixth on.
    pub backoff_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            when: RestartWhen::Always,
            max_retries: 10,
            backoff_base: Duration::from_secs(10),
            backoff_max: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// The wait before the next start, after this many restarts in a row.
    #[must_use]
    pub fn wait(&self, retries: u32) -> Duration {
        let wait = match retries {
            0 => Duration::ZERO,
            1 | 2 => self.backoff_base,
            3 | 4 => self.backoff_base.saturating_mul(3),
            _ => self.backoff_max,
        };
        wait.min(self.backoff_max)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Not seen: the process was not a child of this daemon, or exited while no daemon ran. Counts as a failure.
    Unseen,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(EXIT_CONFIG) => write!(f, "exited with code {EXIT_CONFIG}: its configuration is bad"),
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Unseen => f.write_str("gone, with an unknown exit code"),
        }
    }
}
