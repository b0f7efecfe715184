//! How a process ended, and what its exit code means.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// The exit code for a bad configuration (`EX_CONFIG` of sysexits.h). By default a restart cannot help.
pub const EXIT_CONFIG: u8 = 78;

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
            Self::Code(code) if *code == i32::from(EXIT_CONFIG) => {
                write!(f, "exited with code {EXIT_CONFIG}: its configuration is bad")
            }
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Unseen => f.write_str("gone, with an unknown exit code"),
        }
    }
}

/// The end of an agent's latest process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// The process.
    pub process: Identity,
    /// How it ended.
    pub exit: Exit,
    /// When, on the wall clock.
    pub at: SystemTime,
}

/// A set of exit codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExitCodes([u128; 2]);

impl ExitCodes {
    /// These codes.
    #[must_use]
    pub fn of(codes: &[u8]) -> Self {
        let mut set = Self::default();
        for code in codes {
            set.0[usize::from(code >> 7)] |= 1 << (code & 127);
        }
        set
    }

    /// Whether the process ended with one of these codes.
    #[must_use]
    pub fn has(&self, exit: Exit) -> bool {
        let Exit::Code(code) = exit else { return false };
        u8::try_from(code).is_ok_and(|code| self.0[usize::from(code >> 7)] >> (code & 127) & 1 == 1)
    }

    /// The codes in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|code| self.has(Exit::Code(i32::from(*code))))
    }
}
