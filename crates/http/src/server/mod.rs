//! The HTTP server under tide: an accept loop of our own, hyper on the wire, limits on everything a peer can do.
//!
//! ```text
//! entrance (TLS) ─ accept ─ connections (caps, room for new ones) ─ connection ─ hyper ─ request (checked, whole) ─ Handler
//!                                                     └ vitals (phase, deadline) ─ guarded_io, alarms
//! ```
//!
//! A [`Handler`] sees only requests that are whole, within the limits and free of what tide and http-types choke on.

mod accept;
mod conn_state;
mod connection;
mod connections;
mod guarded_io;
mod limits;
mod listener;
mod refusal;
mod request;
mod tide;
mod timer_queue;
mod tls_accept;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Bytes;
use smol::{LocalExecutor, Task};

use connection::Host;
use connections::Connections;

pub use accept::Condition;
pub use limits::ServerLimits;
pub use listener::{BindError, Listener, Socket, bind, listen_on, listen_on_unix};
pub use refusal::Refusal;
pub use tide::{RouteResponse, Routes};
pub use tls_accept::{Proof, TlsAccept};

/// What answers requests.
pub trait Handler: 'static {
    /// Answers one. It needs deadlines of its own for whatever it waits for: the server sets none here.
    fn handle(&self, request: Request<Bytes>) -> impl Future<Output = Response<Bytes>>;
}

/// Starts to serve. `report` is told when the listener has really begun to accept, when it cannot, and when it can again.
pub fn serve<L: Listener, H: Handler>(
    executor: &Rc<LocalExecutor<'static>>,
    listener: L,
    limits: ServerLimits,
    handler: H,
    report: impl FnMut(Condition) + 'static,
) -> Server {
    let connections = Rc::new(Connections::new(executor, &limits));
    let host = Rc::new(Host::new(handler, limits));
    let accepting =
        executor.spawn(accept::run(Rc::clone(executor), listener, host, Rc::clone(&connections), Box::new(report)));
    Server { accepting, connections }
}

/// A server at work. Dropping it stops the accepting; what is open stays until its peer or a deadline ends it.
#[derive(Debug)]
pub struct Server {
    accepting: Task<()>,
    connections: Rc<Connections>,
}

impl Server {
    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Ends the server: the listener is dropped, connections without a request in the works are closed at once, the
    /// others after their answer (which says `connection: close`) or after `grace`, whichever comes first.
    ///
    /// Returns how many requests were cut off.
    pub async fn drain(self, grace: Duration) -> usize {
        self.accepting.cancel().await;
        self.connections.begin_drain();
        let over = async {
            async_io::Timer::after(grace).await;
        };
        futures_lite::future::or(self.connections.emptied(), over).await;
        self.connections.cut_all()
    }
}
