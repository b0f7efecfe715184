//! The priority of a line for the journal of systemd, as sd-daemon(3) describes it.

use std::env;
use std::os::fd::BorrowedFd;

use super::settings::LogLevel;

/// `text`, where each line begins with its priority if the service manager connected `output` to the journal.
#[must_use]
pub fn with_priority(output: BorrowedFd<'_>, level: LogLevel, text: String) -> String {
    for_output(is_journal(output), level, text)
}

/// `text` as the journal, or as another output takes it.
pub(super) fn for_output(is_journal: bool, level: LogLevel, text: String) -> String {
    if is_journal { prefixed(level, &text) } else { text }
}

/// Whether the service manager connected `output` to the journal. A redirected output has another inode.
pub(super) fn is_journal(output: BorrowedFd<'_>) -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(output).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The journal takes each line as an entry of its own.
fn prefixed(level: LogLevel, text: &str) -> String {
    let priority = match level {
        LogLevel::Error => 3,
        LogLevel::Warn => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    };
    text.split_inclusive('\n').map(|line| format!("<{priority}>{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_the_priority_of_its_level() {
        assert_eq!(prefixed(LogLevel::Error, "a\nb\n"), "<3>a\n<3>b\n");
        assert_eq!(prefixed(LogLevel::Warn, "a"), "<4>a");
        assert_eq!(prefixed(LogLevel::Info, "a\n"), "<6>a\n");
        assert_eq!(prefixed(LogLevel::Debug, "a\n"), "<7>a\n");
    }
}
