//! Notifications to the service manager, as `sd_notify(3)` describes them. Without `NOTIFY_SOCKET` none is sent.
//!
//! No notification blocks. One of a state that the service manager does not take is sent again with the next sign of
//! life.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, io};

use rustix::time::{ClockId, clock_gettime};

/// The latest state, if the service manager has not taken it.
static UNSENT: Mutex<Option<String>> = Mutex::new(None);

/// How often the service manager expects [`alive`]: half of its watchdog limit. `None`: it has set no limit.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    watchdog_of(std::process::id(), |name| env::var(name).ok())
}

fn watchdog_of(own_pid: u32, variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let limit: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    // With the pid of another process, the variables were inherited from that process.
    let pid: Option<u32> = variable("WATCHDOG_PID").and_then(|pid| pid.parse().ok());
    (limit > 0 && pid.is_none_or(|pid| pid == own_pid)).then(|| Duration::from_micros(limit) / 2)
}

/// Reports that the program is not ready yet, with one line of status.
pub fn starting(status: &str) {
    send_state(status_line(status));
}

/// Reports that the program is ready, or has finished a reload, with one line of status.
pub fn ready(status: &str) {
    send_state(format!("READY=1\n{}", status_line(status)));
}

/// Reports that a reload begins. [`ready`] ends it.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    send_state(format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
}

/// Reports that the program stops, with one line of status.
pub fn stopping(status: &str) {
    send_state(format!("STOPPING=1\n{}", status_line(status)));
}

/// Reports that the event loop runs.
pub fn alive() {
    send("WATCHDOG=1\n");
    let mut unsent = UNSENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(state) = unsent.take()
        && !send(&state)
    {
        *unsent = Some(state);
    }
}

/// A line break in the status would begin another assignment.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(['\n', '\r'], " "))
}

fn send_state(state: String) {
    let unsent = if send(&state) { None } else { Some(state) };
    *UNSENT.lock().unwrap_or_else(PoisonError::into_inner) = unsent;
}

/// Sends a message. `false`: the queue of the service manager is full. Another failure does not go away by itself, and
/// must not stop the program.
fn send(message: &str) -> bool {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return true };
    match send_to(&name, message) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "the service manager was not notified");
            error.kind() != io::ErrorKind::WouldBlock
        }
    }
}

fn send_to(name: &OsStr, message: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            let expected = "NOTIFY_SOCKET is not a Unix socket: give an absolute path, or `@` and an abstract name";
            return Err(io::Error::new(io::ErrorKind::Unsupported, expected));
        }
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read its socket must not stop the event loop.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_notified_twice_within_its_limit() {
        let watchdog = |usec: &'static str, pid: Option<&'static str>| {
            watchdog_of(7, move |name| match name {
                "WATCHDOG_USEC" => Some(usec.to_owned()),
                _ => pid.map(str::to_owned),
            })
        };
        assert_eq!(watchdog("200000", None), Some(Duration::from_millis(100)));
        assert_eq!(watchdog("200000", Some("7")), Some(Duration::from_millis(100)));
        assert_eq!(watchdog("200000", Some("8")), None);
        assert_eq!(watchdog("0", None), None);
        assert_eq!(watchdog("soon", None), None);
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(status_line("Degraded: a\nREADY=1\r"), "STATUS=Degraded: a READY=1 \n");
    }

    #[test]
    fn a_name_that_is_no_unix_socket_is_an_error() {
        for name in ["relative", "vsock:2:1234"] {
            assert_eq!(
                send_to(OsStr::new(name), "READY=1\n").unwrap_err().kind(),
                io::ErrorKind::Unsupported,
                "{name}"
            );
        }
    }
}
