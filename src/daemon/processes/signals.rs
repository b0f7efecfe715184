//! Signals by name, and those that the daemon was started with as ignored.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::io::Errno;
use rustix::process::Signal;

/// The signals that an operator may have sent to an agent. Those of the terminal's job control, and those that the kernel sends
/// for a fault of the program, are among them: a test of the program may need them.
const NAMES: [(&str, Signal); 25] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("SYS", Signal::SYS),
];

/// A signal with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedSignal {
    name: &'static str,
    signal: Signal,
}

impl NamedSignal {
    /// The signal with this name, with or without `SIG`, in any case, or with this number.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let is_meant = |(of, signal): &&(&str, Signal)| *of == name || signal.as_raw().to_string() == text;
        NAMES.iter().find(is_meant).map(|(name, signal)| Self { name, signal: *signal })
    }

    /// The name without `SIG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.signal.as_raw()
    }

    pub(super) const fn signal(self) -> Signal {
        self.signal
    }

    /// All names, for a message that lists them.
    #[must_use]
    pub fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }
}

/// Signals that no launcher can reset without `unsafe`, because no handler is allowed for them.
const NOT_RESET: [(u32, &str); 3] = [(4, "SIGILL"), (8, "SIGFPE"), (11, "SIGSEGV")];

/// The room for `/proc/self/status`, so that the kernel gives it with one call.
const STATUS_BYTES: usize = 4096;

/// The signals that this process ignores: bit 0 is signal 1.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(super) fn ignored() -> io::Result<u64> {
    let mut status = String::with_capacity(STATUS_BYTES);
    File::open("/proc/self/status")?.read_to_string(&mut status)?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default().trim();
    u64::from_str_radix(mask, 16).map_err(|_| Errno::NOSYS.into())
}

/// Logs which signals every agent will ignore, because the daemon was started so.
pub(crate) fn warn_of_ignored() {
    let Ok(ignored) = ignored() else { return };
    let names = NOT_RESET.iter().filter(|(number, _)| ignored >> (number - 1) & 1 == 1).map(|(_, name)| *name);
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        let names = names.join(", ");
        tracing::warn!(signals = names, "agents ignore these signals too: start the daemon without ignoring them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_by_name_and_by_number() {
        let number = |text: &str| NamedSignal::of(text).map(NamedSignal::number);
        for text in ["HUP", "SIGHUP", "sighup", "1"] {
            assert_eq!(number(text), Some(1), "{text}");
        }
        assert_eq!(number("USR1"), Some(Signal::USR1.as_raw()));
        for text in ["", "SIG", "0", "-1", "64", "HUPP", "ZERO"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
