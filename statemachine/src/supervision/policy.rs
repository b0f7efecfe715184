//! Whether and when a process that is gone is started again.

use std::fmt;
use std::time::Duration;

/// How long health has to last until earlier deaths are forgotten.
pub const CALM: Duration = Duration::from_secs(5 * 60);

/// The exit code that says the configuration is bad (`EX_CONFIG` of sysexits.h): trying again cannot help.
pub const EXIT_CONFIG: i32 = 78;

/// When a process that is gone is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartWhen {
    /// However it ended.
    Always,
    /// Unless it ended with code 0, unasked.
    OnFailure,
    /// Not at all. What is bad is then only reported.
    Never,
}

/// Whether and when a process that is gone is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// In which cases.
    pub when: RestartWhen,
    /// How often in a row, before it is given up.
    pub max_retries: u32,
    /// The second and third wait; the two after them are three times as long. The first start again comes at once.
    pub backoff_base: Duration,
    /// No wait is longer, and every one from the sixth on is this long.
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
    /// How long to wait before the next start, after so many in a row.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Unseen: it was not this daemon's own child, or ended while no daemon ran. Taken for a failure.
    Unseen,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(EXIT_CONFIG) => write!(f, "exited with code {EXIT_CONFIG}: its configuration is bad"),
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Unseen => f.write_str("gone, with an exit code that nobody saw"),
        }
    }
}
