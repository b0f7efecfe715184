//! Limits the log lines about failed handshakes, separately for each kind of failure.

use std::cell::RefCell;

use super::messages::HandshakeFailure;
use crate::log_limit::LogLimit;

/// Shared by all connections of a listener. A frequent kind of failure does not hide a rare one.
#[derive(Debug, Default)]
pub(crate) struct HandshakeLogLimits(RefCell<Vec<(HandshakeFailure, LogLimit)>>);

impl HandshakeLogLimits {
    /// As [`LogLimit::count`], for one kind of failure.
    pub(super) fn count(&self, kind: HandshakeFailure) -> Option<u64> {
        let mut kinds = self.0.borrow_mut();
        if let Some((_, log_limit)) = kinds.iter().find(|(known, _)| *known == kind) {
            return log_limit.count();
        }
        let log_limit = LogLimit::default();
        let count = log_limit.count();
        kinds.push((kind, log_limit));
        count
    }
}
