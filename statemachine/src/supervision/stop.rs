//! How an agent is stopped.

use std::time::Duration;

use strum::VariantArray;

/// How the process tree of an agent is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSettings {
    /// The first signal.
    pub signal: StopSignal,
    /// The time from the first signal to SIGKILL.
    pub timeout: Duration,
    /// The same for an agent that hangs: every liveness check that it has is bad. Never longer than `timeout`.
    pub hung_timeout: Duration,
    /// Which processes are stopped.
    pub scope: StopScope,
}

impl Default for StopSettings {
    fn default() -> Self {
        Self {
            signal: StopSignal::Term,
            timeout: Duration::from_secs(30),
            hung_timeout: Duration::from_secs(5),
            scope: StopScope::Tree,
        }
    }
}

impl StopSettings {
    /// The time from the first signal to SIGKILL.
    #[must_use]
    pub fn grace(&self, hangs: bool) -> Duration {
        if hangs { self.hung_timeout.min(self.timeout) } else { self.timeout }
    }
}

/// Which processes of a tree are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopScope {
    /// All, in every session.
    Tree,
    /// Those in the session of the main process. The others are no members any more.
    Group,
}

/// The first signal of a stop. SIGCONT follows it, because a stopped process handles no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH.
    Winch,
    /// SIGKILL.
    Kill,
}

impl StopSignal {
    /// All stop signals.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name without `SIG`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
