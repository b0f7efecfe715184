//! The datagram socket of one agent with `ready: notify`: what its processes say with the protocol of sd_notify(3).
//!
//! The kernel names the sender of each datagram. Only what a member of the agent's tree sends counts.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;

use async_io::Async;
use futures_lite::future;
use ops_protocol::printable::on_one_line;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::daemon::control::ControlApi;
use crate::daemon::registry::Notification;

/// The size limit of a datagram. systemd accepts as much.
const MAX_BYTES: usize = 4096;

/// The size limit of the text of `STATUS=`, in bytes.
const MAX_STATUS: usize = 256;

/// After this many datagrams, other tasks have their turn.
const DATAGRAMS_A_TURN: usize = 16;

/// Takes notifications for an agent until the socket fails.
pub(super) async fn receive<D: ControlApi>(socket: &Async<UnixDatagram>, agent: &str, control: &D) {
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..DATAGRAMS_A_TURN {
            match next(socket) {
                Ok(Some((pid, said))) => control.notify(agent, pid, said),
                Ok(None) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::warn!(agent_id = agent, %error, "notifications cannot be read");
                    return;
                }
            }
        }
        future::yield_now().await;
    }
}

/// The next datagram with the pid of its sender. `None`: it counts for nothing. Descriptors in it are not taken.
fn next(socket: &Async<UnixDatagram>) -> Result<Option<(u32, Notification)>, Errno> {
    let mut bytes = [0_u8; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC)?;
    let pid = |message| {
        let RecvAncillaryMessage::ScmCredentials(sender) = message else { return None };
        u32::try_from(sender.pid.as_raw_nonzero().get()).ok()
    };
    let sender = ancillary.drain().find_map(pid);
    let text = bytes.get(..received.bytes).and_then(|text| str::from_utf8(text).ok());
    Ok(sender.zip(text.map(read)))
}

/// Reads the lines of a datagram. What is not known is ignored, as sd_notify(3) wants.
fn read(text: &str) -> Notification {
    let mut said = Notification::default();
    for line in text.lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => said.ready = true,
            Some(("STOPPING", "1")) => said.stopping = true,
            Some(("STATUS", status)) => {
                let end = status.floor_char_boundary(MAX_STATUS);
                said.status = Some(on_one_line(status.get(..end).unwrap_or_default()));
            }
            Some(_) | None => {}
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_counts() {
        let said = read("MAINPID=1\nREADY=1\nSTATUS=loads \u{1b}[31mtables\nFDSTORE=1\nnonsense");
        assert!(said.ready && !said.stopping);
        assert_eq!(said.status.as_deref(), Some(on_one_line("loads \u{1b}[31mtables").as_str()));
        assert!(!said.status.unwrap_or_default().contains('\u{1b}'));
        assert_eq!(read("READY=0\nSTOPPING=yes\n"), Notification::default());
        assert_eq!(read(&format!("STATUS={}", "ä".repeat(500))).status.map(|status| status.len()), Some(MAX_STATUS));
    }
}
