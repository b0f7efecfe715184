//! Whether and when an agent whose process is gone is restarted.

use std::time::Duration;

use super::exit::{EXIT_CONFIG, ExitCodes};
use super::stop::StopSettings;

/// In which cases an agent is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartWhen {
    /// After every exit.
    Always,
    /// After every exit but one with a code that means success.
    OnFailure,
    /// Never. A bad check is then only reported.
    Never,
}

/// When and how an agent is restarted and stopped.
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
    /// The time of health after which earlier restarts are forgotten.
    pub stable_after: Duration,
    /// The exit codes that mean success.
    pub success_exit_codes: ExitCodes,
    /// The exit codes after which a restart cannot help.
    pub no_restart_exit_codes: ExitCodes,
    /// How it is stopped.
    pub stop: StopSettings,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            when: RestartWhen::Always,
            max_retries: 10,
            backoff_base: Duration::from_secs(10),
            backoff_max: Duration::from_secs(60),
            stable_after: Duration::from_secs(5 * 60),
            success_exit_codes: ExitCodes::of(&[0]),
            no_restart_exit_codes: ExitCodes::of(&[EXIT_CONFIG]),
            stop: StopSettings::default(),
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
