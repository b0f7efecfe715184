//! The accept loop: takes connections while it can, and says so when it cannot.

use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, future};
use smol::LocalExecutor;

use super::connection::{self, Host};
use super::connections::{Admission, Connections};
use super::{Handler, Listener, refusal};
use crate::log_limit::LogLimit;
use ops_runtime::causes;

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
    let turned_away = LogLimit::default();
    let mut in_a_row = 0;
    loop {
        // Tried even when nobody is known to wait: only so is it seen that descriptors are free again.
        match listener.accept_now() {
            Ok((stream, peer)) => {
                condition.now(Condition::Accepting);
                match connections.admit(peer) {
                    Some(admission) => welcome(&executor, &host, stream, peer, admission),
                    None => turn_away(stream, peer, &turned_away).await,
                }
                // One that had to go for this one is closed before the next is taken: the cap holds for descriptors too.
                in_a_row = if connections.is_full() { BATCH } else { in_a_row + 1 };
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

fn welcome<S, H>(executor: &LocalExecutor<'static>, host: &Rc<Host<H>>, stream: S, peer: IpAddr, admission: Admission)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let host = Rc::clone(host);
    // A panic costs the connection in which it happened, and no more. Handed to a function that sees to that, the connection
    // would be there twice: as what was handed over, and as what is awaited.
    let connection = async move {
        let connection = AssertUnwindSafe(connection::run(stream, &admission, host)).catch_unwind();
        if let Err(panic) = connection.await {
            tracing::error!(%peer, panic = causes::of_panic(&*panic), "a request panicked: its connection is closed");
        }
    };
    executor.spawn(connection).detach();
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let peers =
        [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::Interrupted, Kind::InvalidInput, Kind::NotConnected];
    peers.contains(&error.kind())
}

/// There is no room for this one.
async fn turn_away(stream: impl AsyncWrite + Unpin, peer: IpAddr, log_limit: &LogLimit) {
    if let Some(count) = log_limit.one_more() {
        tracing::warn!(%peer, count, "too many connections with requests in the works: turned away");
    }
    refusal::turn_away(stream).await;
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
