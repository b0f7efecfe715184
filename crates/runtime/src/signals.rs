//! Signals: TERM and INT request a stop, HUP requests a reload.

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
use smol::channel::{Receiver, Sender, unbounded};

use crate::{causes, own_process};

/// How long to wait after a failed read of signals, because the next read may fail too.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The request that a signal makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// Stop.
    Stop(StopSignal),
    /// Reload.
    Reload,
}

/// A signal that requests a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl StopSignal {
    /// The name of the signal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }
}

/// Signal handlers, which stay in place until the process ends.
///
/// Stop and reload use separate sets. In a common set, a flood of HUPs would swallow a TERM. SIGPIPE needs no
/// handler, because Rust ignores it from the start.
#[derive(Debug)]
pub struct Handlers {
    /// Two sets for the same signals. If one handler cannot write to its pipe because memory is short, the other may.
    stop: [Signals; 2],
    reload: Signals,
}

impl Handlers {
    /// Installs the handlers, and resets what the process inherited. Signals that arrive before [`Handlers::listen`] are kept.
    ///
    /// # Errors
    ///
    /// The process has no descriptors left, or the system refuses a thread.
    pub fn install() -> io::Result<Self> {
        own_process::prepare()?;
        start_reactor()?;
        let stop = || Signals::new([Signal::Term, Signal::Int]);
        Ok(Self { stop: [stop()?, stop()?], reload: Signals::new([Signal::Hup])? })
    }

    /// Queues the signals as they arrive, for as long as the executor runs.
    #[must_use]
    pub fn listen(self, executor: &Rc<LocalExecutor<'static>>) -> SignalQueue {
        let (sender, receiver) = unbounded();
        let Self { stop, mut reload } = self;
        let reported = Rc::new(Cell::new(0));
        for mut stop in stop {
            let (reported, stops) = (Rc::clone(&reported), sender.clone());
            executor
                .spawn(async move {
                    let mut received: u64 = 0;
                    while let Some(signal) = next(&mut stop).await {
                        received += 1;
                        // A signal that the other set has already reported is not reported again.
                        if received > reported.get() {
                            reported.set(received);
                            let stop =
                                if signal == Signal::Int { StopSignal::Interrupt } else { StopSignal::Terminate };
                            let _ = stops.try_send(SignalRequest::Stop(stop));
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
        SignalQueue { receiver, reload: false }
    }
}

/// The signals that have arrived and are not handled yet.
#[derive(Debug)]
pub struct SignalQueue {
    receiver: Receiver<SignalRequest>,
    /// A reload was requested during the set-up.
    reload: bool,
}

impl SignalQueue {
    /// Waits for a request to stop during the set-up. A request to reload is kept for [`SignalQueue::forward`], because
    /// the set-up may have read the configuration already.
    pub async fn stop(&mut self) -> StopSignal {
        loop {
            match self.receiver.recv().await {
                Ok(SignalRequest::Stop(signal)) => return signal,
                Ok(SignalRequest::Reload) => self.reload = true,
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Sends each signal to an event loop, for as long as the executor runs.
    pub fn forward<E: 'static>(
        self,
        executor: &Rc<LocalExecutor<'static>>,
        outbox: Sender<E>,
        event: impl Fn(SignalRequest) -> E + 'static,
    ) {
        if self.reload {
            let _ = outbox.try_send(event(SignalRequest::Reload));
        }
        executor
            .spawn(async move {
                while let Ok(signal) = self.receiver.recv().await {
                    let _ = outbox.try_send(event(signal));
                }
            })
            .detach();
    }
}

/// The next signal. A read error is logged, and the read is retried.
async fn next(signals: &mut Signals) -> Option<Signal> {
    loop {
        match signals.next().await? {
            Ok(signal) => return Some(signal),
            Err(error) => {
                tracing::warn!(%error, "signals cannot be read: trying again");
                Timer::after(RETRY_AFTER).await;
            }
        }
    }
}

/// Starts the reactor. It panics if the system lacks resources for it, and so does its thread.
///
/// Nothing else runs yet, so the panic message is suppressed: the returned error carries it.
fn start_reactor() -> io::Result<()> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let started = panic::catch_unwind(|| Async::new(UnixStream::pair()?.0).map(drop));
    match started {
        Ok(started) => {
            panic::set_hook(hook);
            started
        }
        // The hook stays: the reactor's thread may still panic, and this process ends for the same reason.
        Err(panic) => Err(io::Error::other(causes::of_panic(&*panic).to_owned())),
    }
}
