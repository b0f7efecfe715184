//! The API's listener: bound before the loop runs, served by it.

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
use crate::agent::reload::ReloadRequest;
use crate::agent::snapshot::{Published, Snapshot};
use ops_config::agent::AgentConfig;
use ops_http::server::{ListenerState, Server, ServerIdentity, ServerLimits, TlsAccept, bind, listen_on, serve};
use ops_http::tls::{Material, TlsServer};
use ops_runtime::causes::with_causes;

/// The API's listener, bound, and what its routes need.
pub(super) struct Listening {
    listener: TcpListener,
    /// Where it listens, whatever port was asked for.
    pub(super) address: SocketAddr,
    limits: ServerLimits,
    token: Option<Token>,
    tls: Option<TlsServer>,
}

impl Listening {
    pub(super) fn begin(config: &AgentConfig, material: &Material) -> Result<Self, String> {
        let http = &config.http;
        let tls = material.server().cloned();
        if http.tls.is_some() && tls.is_none() {
            // Nobody may ever get in plain words what was to be said over TLS.
            return Err("`http.tls` asks for TLS, and its files were not read".to_owned());
        }
        let token = http.token_file.as_deref().map(Token::read).transpose().map_err(|error| with_causes(&error))?;
        let listener = match activation::listener() {
            Some(listener) => listener,
            None => bind((http.host, http.port).into()).map_err(|error| with_causes(&error))?,
        };
        let address =
            listener.local_addr().map_err(|error| format!("it cannot be told where the API listens: {error}"))?;
        Ok(Self { listener, address, limits: http.limits.clone(), token, tls })
    }

    /// Whether it speaks HTTPS.
    pub(super) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves from here on. That it really accepts is reported, not assumed. With the server comes what it proves itself by.
    pub(super) fn start(
        self,
        executor: &Rc<LocalExecutor<'static>>,
        published: Published,
        metrics: AgentMetrics,
        outbox: Sender<LoopEvent>,
    ) -> Result<(Server, Option<ServerIdentity>), String> {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let address = self.address;
        let (reload, requests) = smol::channel::bounded(1);
        forward_reloads(executor, requests, outbox.clone());
        let render = Arc::new(move |snapshot: &Snapshot| {
            metrics.render(snapshot).unwrap_or_else(|error| format!("# metrics cannot be shown: {error}\n"))
        });
        let routes = routes(Api { published, reload, token: self.token, render });
        let listener = listen_on(self.listener).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let certificate_until = self.tls.as_ref().and_then(TlsServer::valid_until);
        tracing::info!(%address, scheme, certificate_until, "listening");
        let proof = self.tls.map(ServerIdentity::new);
        let report = move |condition| match condition {
            ListenerState::Accepting => {
                let _ = outbox.try_send(LoopEvent::Cleared(FaultName::Http));
                let _ = outbox.try_send(LoopEvent::Proved(Part::Api));
            }
            ListenerState::Failing(error) => {
                let detail = format!("cannot accept connections: {error}");
                let _ = outbox.try_send(LoopEvent::Raised(FaultName::Http, detail));
            }
        };
        let entrance = TlsAccept::new(listener, proof.clone());
        Ok((serve(executor, entrance, self.limits, routes, report), proof))
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
