//! The agent's HTTP API: tide routes that read the latest published snapshot. They never touch the machine.

pub(crate) mod answer;
pub(crate) mod health;
pub(crate) mod health_status;
pub(crate) mod metrics;
pub(crate) mod negotiation;
pub(crate) mod reload;
pub(crate) mod route;

use std::sync::Arc;

use http::HeaderValue;
use http::header::ALLOW;
use smol::channel::Sender;
use strum::VariantArray as _;
use tide::http::Method;
use tide::{Endpoint, Request, Server};

use crate::agent::reload::ReloadRequest;
use crate::agent::snapshot::{Published, Snapshot};
use ops_http::server::{RouteResponse, Routes};
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

use health_status::HealthEndpoint;
pub(crate) use ops_http::Token;
use route::Route;

use answer::error;

/// Turns a snapshot into the Prometheus text format.
pub(crate) type Render = Arc<dyn Fn(&Snapshot) -> String + Send + Sync>;

/// The parts of the API.
pub struct Api {
    /// Holds the latest snapshot.
    pub published: Published,
    /// Receives the requests for a reload.
    pub reload: Sender<ReloadRequest>,
    /// The token that `POST /reload` requires. `None`: it requires none.
    pub token: Option<Token>,
    /// Whether TLS requires a certificate from every client.
    pub verifies_clients: bool,
    /// Renders `/metrics` for Prometheus.
    pub render: Render,
}

/// The state that tide clones for each request.
type Shared = Arc<AppState>;

struct AppState {
    api: Api,
    health_cache: health::HealthCache,
}

/// The routes, ready to be served.
#[must_use]
pub fn routes(api: Api) -> Routes<impl Clone + Send + Sync> {
    let mut app = tide::with_state(Arc::new(AppState { api, health_cache: health::HealthCache::default() }));
    for &route in Route::VARIANTS {
        match route {
            Route::Health => add(&mut app, route, |request| async move { Ok(health::health(&request)) }),
            Route::Livez => {
                add(&mut app, route, |request| async move { Ok(health::probe(HealthEndpoint::Live, &request)) });
            }
            Route::Readyz => {
                add(&mut app, route, |request| async move { Ok(health::probe(HealthEndpoint::Ready, &request)) });
            }
            Route::Reload => add(&mut app, route, |request| async move { Ok(reload::reload(&request).await) }),
            Route::Metrics => add(&mut app, route, |request| async move { Ok(metrics::metrics(&request)) }),
        }
    }
    app.at("/").all(not_found);
    app.at("/*").all(not_found);
    Routes::new(app)
}

/// Adds `endpoint` at the path of `route`, and a 405 for every other method there.
fn add(app: &mut Server<Shared>, route: Route, endpoint: impl Endpoint<Shared> + Clone) {
    let mut at = app.at(route.path());
    at.method(route.method(), endpoint.clone());
    if route.method() == Method::Get {
        at.head(endpoint);
    }
    at.all(move |_| async move { Ok(method_not_allowed(route.allowed())) });
}

fn method_not_allowed(allowed: &'static str) -> RouteResponse {
    let wrong = ApiError::new(ErrorCode::MethodNotAllowed, format!("this method is not allowed: use {allowed}"));
    let mut response = error(&wrong);
    response.0.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn not_found(_: Request<Shared>) -> tide::Result<RouteResponse> {
    Ok(error(&ApiError::new(
        ErrorCode::NotFound,
        "no such path: use /health, /livez, /readyz, /metrics or POST /reload",
    )))
}
