//! Errors that are on the daemon's own account, or on the host's: they say nothing about an agent.

use std::io;

use rustix::io::Errno;

use ops_runtime::errno::is_shortage;

/// Whether a connection did not come about for the near end of it: want, no local port, or the network away.
#[must_use]
pub(crate) fn is_near_end(error: &io::Error) -> bool {
    let near = matches!(
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
                // Nothing was said against it, and still it is not there: it was never begun.
                | Errno::NOTCONN
        )
    );
    near || is_shortage(error)
}
