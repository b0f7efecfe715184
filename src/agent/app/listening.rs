//! The API's listener: bound before the loop runs, served by it.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::lifecycle::{FaultName, Part};

use super::activation;
use crate::agent::driver::Report;
use crate::agent::inputs::http::{Api, Token, routes};
use crate::agent::metrics::Metrics;
use crate::agent::reload::ReloadRequest;
use crate::agent::snapshot::{Published, Snapshot};
use crate::config::agent::AgentConfig;
use crate::net::server::{Condition, Limits, Server, bind, listen_on, serve};

/// The API's listener, bound, and what its routes need.
pub(super) struct Listening {
    listener: TcpListener,
    /// Where it listens, whatever port was asked for.
    pub(super) address: SocketAddr,
    limits: Limits,
    token: Option<Token>,
}

impl Listening {
    pub(super) fn begin(config: &AgentConfig) -> Result<Self, String> {
        let http = &config.http;
        let token = http.token_file.as_deref().map(Token::read).transpose()?;
        let listener = match activation::listener() {
            Some(listener) => listener,
            None => bind((http.host, http.port).into()).map_err(|error| error.to_string())?,
        };
        let address =
            listener.local_addr().map_err(|error| format!("it cannot be told where the API listens: {error}"))?;
        Ok(Self { listener, address, limits: http.limits.clone(), token })
    }

    /// Serves from here on. That it really accepts is reported, not assumed.
    pub(super) fn start(
        self,
        executor: &Rc<LocalExecutor<'static>>,
        published: Published,
        metrics: Metrics,
        outbox: Sender<Report>,
    ) -> Result<Server, String> {
        let address = self.address;
        let (reload, requests) = smol::channel::bounded(1);
        forward_reloads(executor, requests, outbox.clone());
        let render = Arc::new(move |snapshot: &Snapshot| {
            metrics.render(snapshot).unwrap_or_else(|error| format!("# metrics cannot be shown: {error}\n"))
        });
        let routes = routes(Api { published, reload, token: self.token, render });
        let listener = listen_on(self.listener).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        tracing::info!(%address, "listening");
        let report = move |condition| match condition {
            Condition::Accepting => {
                let _ = outbox.try_send(Report::Cleared(FaultName::Http));
                let _ = outbox.try_send(Report::Proved(Part::Api));
            }
            Condition::Failing(detail) => {
                let _ = outbox.try_send(Report::Raised(FaultName::Http, detail));
            }
        };
        Ok(serve(executor, listener, self.limits, routes, report))
    }
}

fn forward_reloads(executor: &Rc<LocalExecutor<'static>>, requests: Receiver<ReloadRequest>, outbox: Sender<Report>) {
    executor
        .spawn(async move {
            while let Ok(request) = requests.recv().await {
                let _ = outbox.try_send(Report::ReloadRequested(request));
            }
        })
        .detach();
}
