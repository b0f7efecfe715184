//! What is said of connections with clients that came to nothing: of each kind now and then, whatever else goes on.

use std::cell::RefCell;

use super::words::Kind;
use crate::quiet::Quiet;

/// One for all connections of a listener. What happens all the time hides nothing that happens once.
#[derive(Debug, Default)]
pub struct Complaints(RefCell<Vec<(Kind, Quiet)>>);

impl Complaints {
    /// [`Quiet::one_more`], of this kind.
    pub(super) fn one_more(&self, kind: Kind) -> Option<u64> {
        let mut kinds = self.0.borrow_mut();
        if let Some((_, quiet)) = kinds.iter().find(|(known, _)| *known == kind) {
            return quiet.one_more();
        }
        let quiet = Quiet::default();
        let first = quiet.one_more();
        kinds.push((kind, quiet));
        first
    }
}
