//! Starts and drains a server.

use std::rc::Rc;
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::accept::{self, ListenerState};
use super::connection::ServerContext;
use super::connections::Connections;
use super::handler::Handler;
use super::limits::ServerLimits;
use super::listener::Listener;

/// Starts a server. `report` gets each change of the listener's state, the first one when it begins to accept.
pub fn serve<L: Listener, H: Handler>(
    executor: &Rc<LocalExecutor<'static>>,
    listener: L,
    limits: ServerLimits,
    handler: H,
    report: impl FnMut(ListenerState) + 'static,
) -> Server {
    let connections = Rc::new(Connections::new(executor, &limits));
    let context = Rc::new(ServerContext::new(handler, limits));
    let accepting =
        executor.spawn(accept::run(Rc::clone(executor), listener, context, Rc::clone(&connections), report));
    Server { accepting, connections }
}

/// A running server. Dropping it stops the accept loop. Open connections stay until their peer or a timeout ends them.
#[derive(Debug)]
pub struct Server {
    accepting: Task<()>,
    connections: Rc<Connections>,
}

impl Server {
    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Stops the server. The listener is closed, and connections without a pending response are closed at once. The
    /// others are closed after their response (with `connection: close`), and after `grace` at the latest.
    ///
    /// Returns the number of connections that were closed after `grace`.
    pub async fn drain(self, grace: Duration) -> usize {
        self.accepting.cancel().await;
        self.connections.begin_drain();
        let expiry = async {
            async_io::Timer::after(grace).await;
        };
        futures_lite::future::or(self.connections.emptied(), expiry).await;
        self.connections.close_all()
    }
}
