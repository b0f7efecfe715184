//! The accept loop: takes connections while it can, and says so when it cannot.

use std::any::Any;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{FutureExt, future};
use smol::LocalExecutor;

use super::connection::{self, Host};
use super::connections::Connections;
use super::{Handler, Listener, refusal};

/// How long the loop rests after an error that the next try would meet again.
const PAUSE: Duration = Duration::from_millis(250);

/// How many connections are taken in a row before everybody else has a turn.
const BATCH: u32 = 16;

/// Whether the listener can accept. Reported when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It accepts.
    Accepting,
    /// It cannot, and why.
    Failing(String),
}

/// Accepts for ever.
pub(super) async fn run<L: Listener, H: Handler>(
    executor: Rc<LocalExecutor<'static>>,
    listener: L,
    host: Rc<Host<H>>,
    connections: Rc<Connections>,
    report: Box<dyn FnMut(Condition)>,
) {
    let mut condition = Reported { last: None, report };
    let mut in_a_row = 0;
    loop {
        // Tried even when nobody is known to wait: only so is it seen that descriptors are free again.
        match listener.accept_now() {
            Ok((stream, peer)) => {
                condition.now(Condition::Accepting);
                welcome(&executor, &host, &connections, stream, peer).await;
                in_a_row += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                condition.now(Condition::Accepting);
                if let Err(error) = listener.readable().await {
                    condition.failing(&error).await;
                }
                in_a_row = 0;
            }
            // The connection was gone before it was taken: that says nothing about the listener.
            Err(error) if is_the_peers(&error) => in_a_row += 1,
            Err(error) => condition.failing(&error).await,
        }
        if in_a_row >= BATCH {
            in_a_row = 0;
            future::yield_now().await;
        }
    }
}

async fn welcome<S, H>(
    executor: &LocalExecutor<'static>,
    host: &Rc<Host<H>>,
    connections: &Rc<Connections>,
    stream: S,
    peer: IpAddr,
) where
    S: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let Some(admission) = connections.admit(peer) else {
        refusal::turn_away(stream).await;
        return;
    };
    let host = Rc::clone(host);
    executor.spawn(survive(async move { connection::run(stream, &admission, host).await }, peer)).detach();
    // One that had to go for this one is closed before the next is taken: the cap holds for descriptors too.
    if connections.is_full() {
        future::yield_now().await;
    }
}

/// A panic costs the connection in which it happened, and no more.
async fn survive(connection: impl Future<Output = ()>, peer: IpAddr) {
    if let Err(panic) = AssertUnwindSafe(connection).catch_unwind().await {
        tracing::error!(%peer, panic = text(&*panic), "a request panicked: its connection is closed");
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let peers =
        [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::Interrupted, Kind::InvalidInput, Kind::NotConnected];
    peers.contains(&error.kind())
}

struct Reported {
    last: Option<Condition>,
    report: Box<dyn FnMut(Condition)>,
}

impl Reported {
    fn now(&mut self, condition: Condition) {
        if self.last.as_ref() != Some(&condition) {
            self.last = Some(condition.clone());
            (self.report)(condition);
        }
    }

    async fn failing(&mut self, error: &io::Error) {
        self.now(Condition::Failing(format!("cannot accept connections: {error}")));
        Timer::after(PAUSE).await;
    }
}
