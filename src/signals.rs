//! Signals: TERM and INT ask for the end, HUP for a reload.

use std::io;
use std::rc::Rc;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt as _;
use smol::LocalExecutor;
use smol::channel::{Receiver, unbounded};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
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
    stop: Signals,
    reload: Signals,
}

impl Handlers {
    /// Puts the handlers in place. What arrives before [`Handlers::listen`] is kept.
    ///
    /// # Errors
    ///
    /// The process has no descriptors left.
    pub fn install() -> io::Result<Self> {
        Ok(Self { stop: Signals::new([Signal::Term, Signal::Int])?, reload: Signals::new([Signal::Hup])? })
    }

    /// Reports signals for as long as the executor runs.
    #[must_use]
    pub fn listen(self, executor: &Rc<LocalExecutor<'static>>) -> Receiver<Asked> {
        let (sender, receiver) = unbounded();
        let Self { mut stop, mut reload } = self;
        let stops = sender.clone();
        executor
            .spawn(async move {
                while let Some(signal) = stop.next().await {
                    let name = match signal {
                        Ok(Signal::Int) => "SIGINT",
                        _ => "SIGTERM",
                    };
                    let _ = stops.try_send(Asked::Stop(name));
                }
            })
            .detach();
        executor
            .spawn(async move {
                while reload.next().await.is_some() {
                    let _ = sender.try_send(Asked::Reload);
                }
            })
            .detach();
        receiver
    }
}
