//! Errors of the daemon itself or of the host. They do not concern an agent.

use std::io;

use rustix::io::Errno;

use ops_runtime::errno::is_shortage;

/// Whether a connection failed on this side: descriptors or memory ran out, no local port was free, or the network is down.
#[must_use]
pub(crate) fn is_local(error: &io::Error) -> bool {
    let local = matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::ADDRNOTAVAIL
                | Errno::AFNOSUPPORT
                | Errno::ACCESS
                | Errno::PERM
                | Errno::INTR
                // The connection was never begun.
                | Errno::NOTCONN
        )
    );
    local || is_shortage(error)
}
