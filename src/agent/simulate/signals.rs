//! Notes the signals that a simulated agent receives, also while its main thread hangs.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::{emulate_default_handler, pipe};

use super::evidence::EvidenceEvent;
use super::state::Simulation;

/// The signals, and whether they end the process because the agent has no handler for them.
const WATCHED: [(i32, &str, bool); 9] = [
    (SIGHUP, "SIGHUP", false),
    (SIGINT, "SIGINT", false),
    (SIGTERM, "SIGTERM", false),
    (SIGCONT, "SIGCONT", false),
    (SIGQUIT, "SIGQUIT", true),
    (SIGABRT, "SIGABRT", true),
    (SIGALRM, "SIGALRM", true),
    (SIGUSR1, "SIGUSR1", true),
    (SIGUSR2, "SIGUSR2", true),
];

/// Starts a thread that notes each signal.
///
/// # Errors
///
/// The system refuses a descriptor, a handler or the thread.
pub(super) fn watch(simulation: Simulation) -> io::Result<()> {
    let mut streams = Vec::new();
    for (signal, ..) in WATCHED {
        let (read, write) = UnixStream::pair()?;
        pipe::register(signal, write)?;
        streams.push(read);
    }
    let run = move || {
        while let Ok(readable) = readable(&streams) {
            for at in readable {
                let (Some(stream), Some((signal, name, ends))) = (streams.get(at), WATCHED.get(at)) else { continue };
                let mut stream = stream;
                // One byte for each signal.
                if stream.read(&mut [0]).is_ok_and(|read| read == 1) {
                    simulation.note(EvidenceEvent::Signal { signal: (*name).to_owned() });
                    if *ends {
                        let _ = emulate_default_handler(*signal);
                    }
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(run).map(drop)
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
