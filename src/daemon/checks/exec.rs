//! The check by a program, with the exit codes of Nagios plugins.

use std::time::Duration;

use statemachine::supervision::Exit;

use super::Reason;
use super::service::{ServiceResult, seconds};
use crate::daemon::processes::CheckEnd;
use ops_protocol::printable::on_one_line;

/// How much of the first line of the output is shown, in characters.
const SHOWN: usize = 200;

/// The result of one run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecCheckResult {
    /// Exit code 0.
    Passed,
    /// Exit code 1, and what it says.
    Warned(String),
    /// Exit code 2 or no end in time, and what it says.
    Failed(String),
    /// Another end, or it was not run, and why.
    NotTried(String),
}

impl From<ExecCheckResult> for ServiceResult {
    fn from(result: ExecCheckResult) -> Self {
        match result {
            ExecCheckResult::Passed => Self::Passed,
            ExecCheckResult::Warned(detail) => Self::Warned(Reason::Warned(detail)),
            ExecCheckResult::Failed(detail) => Self::Failed(detail),
            ExecCheckResult::NotTried(detail) => Self::NotTried(detail),
        }
    }
}

impl ExecCheckResult {
    /// What the end of a run and the beginning of its output say. `timeout` is the time limit of the run.
    #[must_use]
    pub fn of(end: &CheckEnd, output: &[u8], timeout: Duration) -> Self {
        let says = |what: String| match first_line(output) {
            Some(line) => format!("{what}, and says \"{line}\""),
            None => what,
        };
        match end {
            CheckEnd::Ended(Exit::Code(0)) => Self::Passed,
            CheckEnd::Ended(Exit::Code(1)) => Self::Warned(says("warns".to_owned())),
            CheckEnd::Ended(Exit::Code(2)) => Self::Failed(says("finds it bad".to_owned())),
            CheckEnd::Ended(Exit::Code(code)) => {
                Self::NotTried(says(format!("its program ends with exit code {code}")))
            }
            CheckEnd::Ended(Exit::Signal(signal)) => {
                Self::NotTried(says(format!("its program was killed by signal {signal}")))
            }
            CheckEnd::Ended(Exit::Unseen) | CheckEnd::Lost => {
                Self::NotTried(says("it cannot be told how its program ended".to_owned()))
            }
            CheckEnd::TimedOut => Self::Failed(says(format!("does not end within {}", seconds(timeout)))),
            CheckEnd::WroteTooMuch => Self::NotTried(says("its program writes more than 1 MiB".to_owned())),
            CheckEnd::NotStarted(error) => Self::NotTried(error.of_check()),
            CheckEnd::Blocked(pid) => {
                Self::NotTried(format!("an earlier run of its program cannot be ended: see what is below pid {pid}"))
            }
        }
    }

    /// The result of a run that could not even be begun for long.
    pub(super) fn late() -> Self {
        Self::NotTried("its program could not be started in time".to_owned())
    }
}

/// The first line that is not empty, for people.
fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(|line| on_one_line(line.trim())).find(|line| !line.trim().is_empty())?;
    let shown: String = line.chars().take(SHOWN).collect();
    Some(if shown.len() < line.len() { format!("{shown}…") } else { shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(end: CheckEnd, output: &str) -> ExecCheckResult {
        ExecCheckResult::of(&end, output.as_bytes(), Duration::from_millis(1500))
    }

    #[test]
    fn the_exit_codes_are_those_of_nagios_plugins() {
        let code = |code, output| judged(CheckEnd::Ended(Exit::Code(code)), output);
        assert_eq!(code(0, "OK"), ExecCheckResult::Passed);
        let warned = "warns, and says \"DISK WARNING | used=81\"";
        assert_eq!(code(1, "\n DISK WARNING | used=81\nmore"), ExecCheckResult::Warned(warned.to_owned()));
        assert_eq!(code(2, ""), ExecCheckResult::Failed("finds it bad".to_owned()));
        for other in [3, 4, 126, 127, 255] {
            let why = format!("its program ends with exit code {other}, and says \"x\"");
            assert_eq!(code(other, "x"), ExecCheckResult::NotTried(why));
        }
        let killed = judged(CheckEnd::Ended(Exit::Signal(11)), "");
        assert_eq!(killed, ExecCheckResult::NotTried("its program was killed by signal 11".to_owned()));
        assert_eq!(judged(CheckEnd::TimedOut, ""), ExecCheckResult::Failed("does not end within 1.5 s".to_owned()));
        for end in [CheckEnd::Lost, CheckEnd::WroteTooMuch, CheckEnd::Blocked(7)] {
            assert!(matches!(judged(end, ""), ExecCheckResult::NotTried(_)));
        }
    }

    #[test]
    fn what_a_program_says_is_one_short_printable_line() {
        assert_eq!(first_line(b"\x1b[31mred\x07 \xff\n"), Some(" [31mred  \u{fffd}".to_owned()));
        let long = first_line("é".repeat(1000).as_bytes()).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN + 1, true));
        assert_eq!(first_line(b" \n\t\n"), None);
    }
}
