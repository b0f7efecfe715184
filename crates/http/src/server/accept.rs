//! The accept loop. It reports when the listener cannot accept.

use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, future};
use smol::LocalExecutor;

use super::connection::{self, ServerContext};
use super::connections::{Admission, Connections};
use super::handler::Handler;
use super::listener::Listener;
use super::refusal;
use crate::log_limit::LogLimit;
use ops_runtime::causes;

/// How long the loop waits after an error of the listener, because the next accept may fail too.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How many connections are accepted in a row before other tasks run.
const ACCEPTS_IN_A_ROW: u32 = 16;

/// Whether a listener can accept connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerState {
    /// It accepts.
    Accepting,
    /// It cannot accept. The text is the error of the system.
    Failing(String),
}

/// Accepts the connections of one listener, and reports each change of its [`ListenerState`].
pub struct AcceptLoop<L, R> {
    listener: L,
    report: R,
    state: Option<ListenerState>,
    in_a_row: u32,
}

impl<L: Listener, R: FnMut(ListenerState)> AcceptLoop<L, R> {
    /// A loop that has not accepted yet, so that the first state is reported too.
    pub const fn new(listener: L, report: R) -> Self {
        Self { listener, report, state: None, in_a_row: 0 }
    }

    /// Waits for the next connection. Lets other tasks run after a fixed number of accepts, so that a connect storm
    /// cannot starve them. Errors of the listener are reported, and the accept is retried.
    pub async fn next(&mut self) -> (L::Stream, IpAddr) {
        loop {
            if self.in_a_row >= ACCEPTS_IN_A_ROW {
                self.in_a_row = 0;
                future::yield_now().await;
            }
            // Accepts even if no connection is known to wait. Otherwise the loop would not see that an error is over.
            match self.listener.accept_now() {
                Ok(accepted) => {
                    self.enter(ListenerState::Accepting);
                    self.in_a_row += 1;
                    return accepted;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.enter(ListenerState::Accepting);
                    if let Err(error) = self.listener.readable().await {
                        self.fail(&error).await;
                    }
                    self.in_a_row = 0;
                }
                // The connection ended before the accept. The listener works.
                Err(error) if is_of_connection(&error) => self.in_a_row += 1,
                Err(error) => self.fail(&error).await,
            }
        }
    }

    /// Lets other tasks run before the next accept.
    pub(super) const fn yield_before_next(&mut self) {
        self.in_a_row = ACCEPTS_IN_A_ROW;
    }

    fn enter(&mut self, state: ListenerState) {
        if self.state.as_ref() != Some(&state) {
            self.state = Some(state.clone());
            (self.report)(state);
        }
    }

    async fn fail(&mut self, error: &io::Error) {
        self.enter(ListenerState::Failing(error.to_string()));
        Timer::after(RETRY_AFTER).await;
    }
}

/// Whether an error of an accept concerns that connection only.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let kinds =
        [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::Interrupted, Kind::InvalidInput, Kind::NotConnected];
    kinds.contains(&error.kind())
}

/// Serves the connections of a listener. Never returns.
pub(super) async fn run<L: Listener, H: Handler>(
    executor: Rc<LocalExecutor<'static>>,
    listener: L,
    context: Rc<ServerContext<H>>,
    connections: Rc<Connections>,
    report: impl FnMut(ListenerState),
) {
    let mut accept_loop = AcceptLoop::new(listener, report);
    let rejections = LogLimit::default();
    loop {
        let (stream, peer) = accept_loop.next().await;
        match connections.admit(peer) {
            Some(admission) => spawn(&executor, &context, stream, peer, admission),
            None => reject(stream, peer, &rejections).await,
        }
        // A displaced connection is closed before the next accept, so the limit holds for descriptors too.
        if connections.is_full() {
            accept_loop.yield_before_next();
        }
    }
}

fn spawn<S, H>(
    executor: &LocalExecutor<'static>,
    context: &Rc<ServerContext<H>>,
    stream: S,
    peer: IpAddr,
    admission: Admission,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let context = Rc::clone(context);
    // A panic must end only its own connection. The code is inline, because a helper function would hold the
    // connection's future twice: as its argument and as the future that it awaits.
    let connection = async move {
        let connection = AssertUnwindSafe(connection::run(stream, &admission, context)).catch_unwind();
        if let Err(panic) = connection.await {
            tracing::error!(%peer, panic = causes::of_panic(&*panic), "a request panicked: its connection is closed");
        }
    };
    executor.spawn(connection).detach();
}

async fn reject(stream: impl AsyncWrite + Unpin, peer: IpAddr, log_limit: &LogLimit) {
    if let Some(count) = log_limit.count() {
        tracing::warn!(%peer, count, "connection refused: all connections have pending requests");
    }
    refusal::reject(stream).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A listener for which a connection always waits. Each accept succeeds, or the connection is aborted.
    struct Storm {
        accepts: Rc<Cell<u32>>,
        aborted: bool,
    }

    impl Listener for Storm {
        type Stream = futures_lite::io::Cursor<Vec<u8>>;

        fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
            self.accepts.set(self.accepts.get() + 1);
            if self.aborted {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Ok((futures_lite::io::Cursor::new(Vec::new()), IpAddr::from([127, 0, 0, 1])))
        }

        async fn readable(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_connect_storm_lets_other_tasks_run() {
        for aborted in [false, true] {
            let accepts = Rc::<Cell<u32>>::default();
            let mut accept_loop = AcceptLoop::new(Storm { accepts: Rc::clone(&accepts), aborted }, |_| ());
            let mut storm = Box::pin(async {
                loop {
                    accept_loop.next().await;
                }
            });
            for polls in 1..=3 {
                let ended: Option<()> = smol::block_on(future::poll_once(storm.as_mut()));
                assert_eq!((ended, accepts.get()), (None, polls * ACCEPTS_IN_A_ROW), "aborted: {aborted}");
            }
        }
    }

    #[test]
    fn each_change_of_the_state_is_reported_once() {
        let states = Rc::new(std::cell::RefCell::new(Vec::new()));
        let reported = Rc::clone(&states);
        let listener = Storm { accepts: Rc::default(), aborted: false };
        let mut accept_loop = AcceptLoop::new(listener, move |state| reported.borrow_mut().push(state));
        smol::block_on(async {
            accept_loop.next().await;
            accept_loop.next().await;
        });
        accept_loop.enter(ListenerState::Failing("full".to_owned()));
        accept_loop.enter(ListenerState::Failing("full".to_owned()));
        smol::block_on(accept_loop.next());
        let failing = ListenerState::Failing("full".to_owned());
        assert_eq!(*states.borrow(), [ListenerState::Accepting, failing, ListenerState::Accepting]);
    }
}
