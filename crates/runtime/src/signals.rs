//! Signals: TERM and INT ask for the end, HUP for a reload.

use std::cell::Cell;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use async_signal::{Signal, Signals};
use futures_lite::StreamExt as _;
use smol::LocalExecutor;
use smol::channel::{Receiver, unbounded};

use crate::causes;

/// How long to rest after signals could not be read, which the next try may find again.
const PAUSE: Duration = Duration::from_millis(250);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// The end, by the signal of this name.
    Stop(&'static str),
    /// A reload.
    Reload,
}

/// Handlers that are in place from here to the end of the process.
///
/// The two kinds have a set each: in one, a flood of HUPs would swallow a TERM. SIGPIPE needs no handler, since Rust
/// ignores it from the start.
#[derive(Debug)]
pub struct Handlers {
    /// Twice, since a handler that cannot write to its pipe, for want of memory, has no other way to tell.
    stop: [Signals; 2],
    reload: Signals,
}

impl Handlers {
    /// Puts the handlers in place. What arrives before [`Handlers::listen`] is kept.
    ///
    /// # Errors
    ///
    /// The process has no descriptors left, or may have no thread.
    pub fn install() -> io::Result<Self> {
        begin_reactor()?;
        let stop = || Signals::new([Signal::Term, Signal::Int]);
        Ok(Self { stop: [stop()?, stop()?], reload: Signals::new([Signal::Hup])? })
    }

    /// Reports signals for as long as the executor runs.
    #[must_use]
    pub fn listen(self, executor: &Rc<LocalExecutor<'static>>) -> Receiver<SignalRequest> {
        let (sender, receiver) = unbounded();
        let Self { stop, mut reload } = self;
        let told = Rc::new(Cell::new(0));
        for mut stop in stop {
            let (told, stops) = (Rc::clone(&told), sender.clone());
            executor
                .spawn(async move {
                    let mut heard: u64 = 0;
                    while let Some(signal) = next(&mut stop).await {
                        heard += 1;
                        // What the other one has told already is not asked for a second time.
                        if heard > told.get() {
                            told.set(heard);
                            let name = if signal == Signal::Int { "SIGINT" } else { "SIGTERM" };
                            let _ = stops.try_send(SignalRequest::Stop(name));
                        }
                    }
                })
                .detach();
        }
        executor
            .spawn(async move {
                while next(&mut reload).await.is_some() {
                    let _ = sender.try_send(SignalRequest::Reload);
                }
            })
            .detach();
        receiver
    }
}

/// The next signal. That it cannot be told which one came, or whether any did, is none.
async fn next(signals: &mut Signals) -> Option<Signal> {
    loop {
        match signals.next().await? {
            Ok(signal) => return Some(signal),
            Err(error) => {
                tracing::warn!(%error, "signals cannot be read; trying again");
                Timer::after(PAUSE).await;
            }
        }
    }
}

/// Starts what waits for descriptors and timers, which panics if the system has no room for it; and so does its thread.
///
/// Nothing else runs yet, so for once nobody is to hear of a panic but whoever reads the error.
fn begin_reactor() -> io::Result<()> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let begun = panic::catch_unwind(|| Async::new(UnixStream::pair()?.0).map(drop));
    match begun {
        Ok(begun) => {
            panic::set_hook(hook);
            begun
        }
        // The thread may panic yet, if there is one, and this process ends for the same reason.
        Err(panic) => Err(io::Error::other(causes::of_panic(&*panic).to_owned())),
    }
}
