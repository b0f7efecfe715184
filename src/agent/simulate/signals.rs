//! Notes the signals that a simulated agent receives, also while its main thread hangs.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::{emulate_default_handler, pipe, signal_name};

use super::evidence::EvidenceEvent;
use super::state::Simulation;

/// The signals, and whether they end the process because the agent has no handler for them.
const WATCHED: [(i32, bool); 9] = [
    (SIGHUP, false),
    (SIGINT, false),
    (SIGTERM, false),
    (SIGCONT, false),
    (SIGQUIT, true),
    (SIGABRT, true),
    (SIGALRM, true),
    (SIGUSR1, true),
    (SIGUSR2, true),
];

/// How long the end of the process waits for the evidence of the last signals.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that notes signals.
pub(super) struct SignalThread {
    wake: UnixStream,
    flushed: Receiver<()>,
}

impl SignalThread {
    /// Waits until the signals that have arrived are noted.
    pub(super) fn flush(&self) {
        if (&self.wake).write_all(&[0]).is_ok() {
            let _ = self.flushed.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Starts a thread that notes each signal.
///
/// # Errors
///
/// The system refuses a descriptor, a handler or the thread.
pub(super) fn watch(simulation: Simulation) -> io::Result<SignalThread> {
    let mut streams = Vec::new();
    for (signal, ..) in WATCHED {
        let (read, write) = UnixStream::pair()?;
        pipe::register(signal, write)?;
        streams.push(read);
    }
    // The last one, so that it is looked at after the signals.
    let (asked, wake) = UnixStream::pair()?;
    streams.push(asked);
    let (done, flushed) = channel();
    let run = move || {
        while let Ok(readable) = readable(&streams) {
            for at in readable {
                let Some(mut stream) = streams.get(at) else { continue };
                // One byte for each signal.
                if !stream.read(&mut [0]).is_ok_and(|read| read == 1) {
                    continue;
                }
                let Some((signal, ends)) = WATCHED.get(at) else {
                    let _ = done.send(());
                    continue;
                };
                let name = signal_name(*signal).unwrap_or_default();
                simulation.note(EvidenceEvent::Signal { signal: name.to_owned() });
                if *ends {
                    let _ = emulate_default_handler(*signal);
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(run)?;
    Ok(SignalThread { wake, flushed })
}

/// The streams that have data.
fn readable(streams: &[UnixStream]) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty());
    Ok(ready.map(|(at, _)| at).collect())
}
