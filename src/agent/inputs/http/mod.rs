//! The agent's HTTP API: tide routes over the latest published snapshot. The machine itself is never touched from here.

mod answer;
mod health;
mod metrics;
mod negotiation;
mod reload;
mod verdict;

use std::sync::Arc;

use smol::channel::Sender;
use tide::http::Method;
use tide::{Endpoint, Request, Response, Server};

use crate::agent::reload::ReloadRequest;
use crate::agent::snapshot::{Published, Snapshot};
use crate::wire::ApiError;
use crate::wire::error::Code;

pub use crate::net::Token;
pub use verdict::{Probe, Verdict, verdict};

use answer::error;

/// Turns a snapshot into the Prometheus text format.
pub type Render = Arc<dyn Fn(&Snapshot) -> String + Send + Sync>;

/// What the routes work with.
#[derive(Clone)]
pub struct Api {
    /// Where the latest snapshot is found.
    pub published: Published,
    /// Where wishes for a reload go.
    pub reload: Sender<ReloadRequest>,
    /// What `POST /reload` asks for. `None`: nothing.
    pub token: Option<Token>,
    /// How `/metrics` looks to Prometheus.
    pub render: Render,
}

/// Every path with its method. HEAD works wherever GET does.
pub const ROUTES: [(&str, Method); 5] = [
    ("/health", Method::Get),
    ("/livez", Method::Get),
    ("/readyz", Method::Get),
    ("/reload", Method::Post),
    ("/metrics", Method::Get),
];

/// The routes, ready to be served.
#[must_use]
pub fn routes(api: Api) -> Server<Api> {
    let mut app = tide::with_state(api);
    for (path, method) in ROUTES {
        match path {
            "/health" => route(&mut app, path, method, |request| async move { Ok(health::health(&request)) }),
            "/livez" => {
                route(&mut app, path, method, |request| async move { Ok(health::probe(Probe::Live, &request)) })
            }
            "/readyz" => {
                route(&mut app, path, method, |request| async move { Ok(health::probe(Probe::Ready, &request)) })
            }
            "/reload" => route(&mut app, path, method, |request| async move { Ok(reload::reload(&request).await) }),
            _ => route(&mut app, path, method, |request| async move { Ok(metrics::metrics(&request)) }),
        }
    }
    app.at("/").all(not_found);
    app.at("/*").all(not_found);
    app
}

/// Puts `endpoint` at `path`, and a 405 at every other method there.
fn route(app: &mut Server<Api>, path: &str, method: Method, endpoint: impl Endpoint<Api> + Clone) {
    let mut route = app.at(path);
    route.method(method, endpoint.clone());
    let allowed = if method == Method::Get {
        route.head(endpoint);
        "GET, HEAD"
    } else {
        "POST"
    };
    route.all(move |_| async move { Ok(method_not_allowed(allowed)) });
}

fn method_not_allowed(allowed: &'static str) -> Response {
    let wrong = ApiError::new(Code::MethodNotAllowed, format!("this path takes {allowed} only"));
    let mut response = error(&wrong);
    response.insert_header("allow", allowed);
    response
}

async fn not_found(_: Request<Api>) -> tide::Result {
    Ok(error(&ApiError::new(
        Code::NotFound,
        "there is nothing here: try /health, /livez, /readyz, /metrics or POST /reload",
    )))
}
