//! The exit codes that both programs use.

/// The command failed, or the program was forced to end.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong: `EX_USAGE` of sysexits(3).
pub(super) const WRONG_USAGE: u8 = 64;
/// The configuration is wrong: `EX_CONFIG` of sysexits(3).
pub(super) const BAD_CONFIG: u8 = 78;
