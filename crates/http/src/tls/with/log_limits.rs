//! What is said of connections with clients that came to nothing: of each kind now and then, whatever else goes on.

use std::cell::RefCell;

use super::messages::Kind;
use crate::log_limit::LogLimit;

/// One for all connections of a listener. What happens all the time hides nothing that happens once.
#[derive(Debug, Default)]
pub struct HandshakeLogLimits(RefCell<Vec<(Kind, LogLimit)>>);

impl HandshakeLogLimits {
    /// [`LogLimit::one_more`], of this kind.
    pub(super) fn one_more(&self, kind: Kind) -> Option<u64> {
        let mut kinds = self.0.borrow_mut();
        if let Some((_, log_limit)) = kinds.iter().find(|(known, _)| *known == kind) {
            return log_limit.one_more();
        }
        let log_limit = LogLimit::default();
        let first = log_limit.one_more();
        kinds.push((kind, log_limit));
        first
    }
}
