//! The exit codes that both programs use.

use ops_config::Problems;

/// The command failed, or the program was forced to end.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong: `EX_USAGE` of sysexits(3).
pub(super) const WRONG_USAGE: u8 = 64;
/// The configuration is wrong: `EX_CONFIG` of sysexits(3).
pub(super) const BAD_CONFIG: u8 = 78;

/// For these problems of a configuration. The daemon gives up on an agent with a wrong configuration. A problem that may pass
/// must not look like one.
pub(super) const fn of_problems(problems: &Problems) -> u8 {
    if problems.is_transient() { FAILED } else { BAD_CONFIG }
}
