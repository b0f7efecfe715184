//! The memory that all connections together may use for request bodies and for responses that their peers do not read.
//!
//! Each connection has its own limits. Without a common one, many connections that are slow on purpose would use a multiple of
//! them.

use std::time::Duration;

use super::conn_state::ConnState;
use super::connections::{Connections, Memory};
use ops_runtime::clock;

/// What a body or a response may have without being counted, in bytes. So the answers to probes are never refused.
const UNCOUNTED: usize = 16 * 1024;

/// How long a peer has for a response before its connection may be closed for the sake of another one.
const UNDISTURBED: Duration = Duration::from_secs(1);

impl Connections {
    /// Counts the bytes of a request body that have arrived. At the limit, the slowest other peers lose their connection.
    pub(super) fn hold_body(&self, own: &ConnState, bytes: usize) {
        if bytes > UNCOUNTED {
            own.hold(bytes);
            self.make_room(own, bytes, Memory::Bodies, self.all_bodies, Duration::ZERO);
        }
    }

    /// Counts a response. `false`: there is no room for it, because other peers do not read theirs.
    pub(super) fn hold_response(&self, own: &ConnState, bytes: usize) -> bool {
        own.hold(0);
        if bytes <= UNCOUNTED {
            return true;
        }
        let has_room = self.make_room(own, bytes, Memory::Responses, self.all_responses, UNDISTURBED);
        if has_room {
            own.hold(bytes);
        }
        has_room
    }

    /// Closes other connections until they and `bytes` are within the limit, those that hold memory longest first. Returns whether
    /// they were within the limit before, because a closed connection frees its memory later. One connection alone is always
    /// within it.
    fn make_room(&self, own: &ConnState, bytes: usize, memory: Memory, limit: usize, undisturbed: Duration) -> bool {
        let mut others = self.holders_beside(own, memory);
        let mut total = others.iter().map(|of| of.held().0).sum::<usize>();
        let has_room = total == 0 || total + bytes <= limit;
        others.sort_by_key(|of| of.held().1);
        let now = clock::monotonic();
        for of in others {
            let (held, since) = of.held();
            if total + bytes <= limit || now.saturating_sub(since) < undisturbed {
                break;
            }
            total -= held;
            of.close();
        }
        has_room
    }
}
