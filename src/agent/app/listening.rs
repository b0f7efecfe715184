//! The API's listener: bound before the loop runs, and served while it runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::lifecycle::{FaultName, Part};

use super::activation;
use crate::agent::api::{Api, Token, routes};
use crate::agent::event_loop::LoopEvent;
use crate::agent::metrics::AgentMetrics;
use crate::agent::reload::{MAX_WAITING, ReloadRequest};
use crate::agent::snapshot::{Published, Snapshot};
use ops_config::agent::AgentConfig;
use ops_http::server::{
    BindError, ListenerState, Server, ServerIdentity, ServerLimits, TlsAccept, bind, listen_on, serve,
};
use ops_http::tls::{Material, TlsServer};

/// Why the API does not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// `http.tls` is set, but its files were not read.
    #[error("`http.tls` is set, but its files were not read: check the log")]
    TlsNotRead,
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The listener's address cannot be read.
    #[error("the address of the API's listener cannot be read")]
    NoAddress(#[source] io::Error),
    /// The executor cannot watch the listener.
    #[error("cannot listen on {address}")]
    NotWatched {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        error: io::Error,
    },
}

/// The bound listener of the API, and what its routes need.
pub(crate) struct Listening {
    listener: TcpListener,
    /// The address with the real port, also if port 0 is configured.
    pub(super) address: SocketAddr,
    limits: ServerLimits,
    token: Option<Token>,
    tls: Option<TlsServer>,
    verifies_clients: bool,
}

impl Listening {
    pub(super) fn begin(config: &AgentConfig, material: &Material, token: Option<Token>) -> Result<Self, ListenError> {
        let http = &config.http;
        let tls = material.server().cloned();
        if http.tls.is_some() && tls.is_none() {
            // Never serve in plain HTTP what is configured for TLS.
            return Err(ListenError::TlsNotRead);
        }
        let listener = match activation::listener() {
            Some(listener) => listener,
            None => bind((http.host, http.port).into())?,
        };
        let address = listener.local_addr().map_err(ListenError::NoAddress)?;
        let verifies_clients = http.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        Ok(Self { listener, address, limits: http.limits.clone(), token, tls, verifies_clients })
    }

    /// Serves on another listener, which the address does not name. Returns the present one.
    #[cfg(feature = "simulate")]
    pub(crate) fn replace_listener(&mut self, other: TcpListener) -> TcpListener {
        std::mem::replace(&mut self.listener, other)
    }

    /// Whether the API uses HTTPS.
    pub(super) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Starts to serve. The loop learns from an event that the listener accepts. Returns the server and its certificate.
    pub(super) fn start(
        self,
        executor: &Rc<LocalExecutor<'static>>,
        published: Published,
        metrics: AgentMetrics,
        outbox: Sender<LoopEvent>,
    ) -> Result<(Server, Option<ServerIdentity>), ListenError> {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let address = self.address;
        let (reload, requests) = smol::channel::bounded(MAX_WAITING);
        forward_reloads(executor, requests, outbox.clone());
        let render = Arc::new(move |snapshot: &Snapshot| {
            metrics.render(snapshot).unwrap_or_else(|error| format!("# the metrics cannot be rendered: {error}\n"))
        });
        let routes =
            routes(Api { published, reload, token: self.token, verifies_clients: self.verifies_clients, render });
        let listener = listen_on(self.listener).map_err(|error| ListenError::NotWatched { address, error })?;
        let certificate_until = self.tls.as_ref().and_then(TlsServer::valid_until);
        tracing::info!(%address, scheme, certificate_until, "listening");
        let certificate = self.tls.map(ServerIdentity::new);
        let report = move |state| match state {
            ListenerState::Accepting => {
                let _ = outbox.try_send(LoopEvent::Cleared(FaultName::Http));
                let _ = outbox.try_send(LoopEvent::Proved(Part::Api));
            }
            ListenerState::Failing(error) => {
                let detail = format!("cannot accept connections: {error}");
                let _ = outbox.try_send(LoopEvent::Raised(FaultName::Http, detail));
            }
        };
        let accept = TlsAccept::new(listener, certificate.clone());
        Ok((serve(executor, accept, self.limits, routes, report), certificate))
    }
}

fn forward_reloads(
    executor: &Rc<LocalExecutor<'static>>,
    requests: Receiver<ReloadRequest>,
    outbox: Sender<LoopEvent>,
) {
    executor
        .spawn(async move {
            while let Ok(request) = requests.recv().await {
                let _ = outbox.try_send(LoopEvent::ReloadRequested(request));
            }
        })
        .detach();
}
