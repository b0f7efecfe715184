//! The daemon's HTTP API.
//!
//! It uses hyper's types directly. Nearly all requests are heartbeats, and a conversion to tide's types and back
//! would cost more than the rest of the work for a heartbeat.

pub(crate) mod control_auth;
pub(crate) mod discovery;
pub(crate) mod logs_query;
pub(crate) mod page;
pub(crate) mod route;

use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;
use smol::lock::Semaphore;

use super::feed::{self, Feed};
use super::log_stream::{self, LogStream};
use super::{DaemonMetrics, RECEIVED, accept_heartbeat, answers, large_answers, metrics};
use crate::daemon::control::{ControlApi, Declined, HeartbeatSender, Order, Peer, ScrapeTarget};
use ops_http::server::{Handler, PeerAddress, Refusal, ResponseBody};
use ops_protocol::ErrorCode;
use ops_protocol::heartbeat::{ReceivedHeartbeat, SECRET_HEADER};
use ops_protocol::views::{AgentView, AgentsView};
use ops_protocol::{ApiError, Command};
use ops_runtime::clock;

pub(crate) use control_auth::ControlAuth;
use logs_query::LogsQuery;
use route::Route;

/// The daemon's HTTP interface, ready to be served.
#[derive(Debug)]
pub struct Http<D> {
    control: Rc<D>,
    control_auth: ControlAuth,
    metrics: DaemonMetrics,
    feed: Rc<Feed<D>>,
    /// One permit for each stream of output.
    log_streams: Arc<Semaphore>,
}

impl<D: ControlApi> Http<D> {
    /// Serves `control`. `control_auth` decides which requests may give commands. `config`: the absolute path of the
    /// configuration, for people.
    pub fn new(control: Rc<D>, control_auth: ControlAuth, metrics: DaemonMetrics, config: Option<String>) -> Self {
        let feed = Rc::new(Feed::new(Rc::clone(&control), config));
        Self { control, control_auth, metrics, feed, log_streams: Arc::new(Semaphore::new(log_stream::STREAMS)) }
    }

    async fn answer(&self, request: &Request<Bytes>) -> Result<Response<ResponseBody>, ApiError> {
        let route = Route::of(request.uri().path()).ok_or_else(not_found)?;
        if !route.takes(request.method()) {
            return Ok(method_not_allowed(route.allows()).map(ResponseBody::from));
        }
        self.control_auth.not_rebound(request.headers()).map_err(ApiError::from)?;
        let response = match route {
            Route::Events => return self.events(request),
            Route::Logs(id) => return self.logs(request, id).await,
            Route::Heartbeat => self.heartbeat(request)?,
            Route::Agents => self.agents(request).await?,
            Route::Agent(id) => self.agent(request, id)?,
            Route::Control(id, command) => self.control(request, id, command)?,
            Route::Reload => self.reload(request).await?,
            Route::Health => {
                let health = self.control.health();
                json(if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
            }
            Route::Metrics => self.metrics().await?,
            Route::Discovery => {
                let render = |agents: Vec<ScrapeTarget>| json(StatusCode::OK, &discovery::targets(agents));
                large_answers::of_targets(&*self.control, render).await?
            }
            Route::Page => page::response(),
        };
        Ok(response.map(ResponseBody::from))
    }

    async fn agents(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let (now, may_see_output) = (clock::wall().into(), self.admit(request).is_ok());
        let render = move |mut agents: Vec<AgentView>| {
            agents.iter_mut().filter(|_| !may_see_output).for_each(AgentView::clear_output);
            json(StatusCode::OK, &AgentsView { now, agents })
        };
        large_answers::of_agents(&*self.control, render).await
    }

    fn agent(&self, request: &Request<Bytes>, id: &str) -> Result<Response<Bytes>, ApiError> {
        let mut agent = self.control.agent(id).ok_or_else(|| answers::declined(&Declined::unknown(id)))?;
        if self.admit(request).is_err() {
            agent.clear_output();
        }
        Ok(json(StatusCode::OK, &agent))
    }

    fn events(&self, request: &Request<Bytes>) -> Result<Response<ResponseBody>, ApiError> {
        self.admit(request)?;
        let stream = self.feed.open().ok_or_else(|| too_many_streams(feed::STREAMS))?;
        Ok(event_stream(ResponseBody::Stream(Box::pin(stream))))
    }

    async fn logs(&self, request: &Request<Bytes>, id: &str) -> Result<Response<ResponseBody>, ApiError> {
        self.admit(request)?;
        let LogsQuery { lines, follow } = LogsQuery::of(request.uri().query().unwrap_or_default())?;
        if follow {
            let place = self.log_streams.try_acquire_arc().ok_or_else(|| too_many_streams(log_stream::STREAMS))?;
            if self.control.agent(id).is_none() {
                return Err(answers::declined(&Declined::unknown(id)));
            }
            let stream = LogStream::new(&self.control, place, id, lines);
            return Ok(event_stream(ResponseBody::Stream(Box::pin(stream))));
        }
        let lines = self.control.logs(id, lines).await.map_err(|declined| answers::declined(&declined))?;
        Ok(json(StatusCode::OK, &serde_json::json!({ "lines": lines })).map(ResponseBody::from))
    }

    /// Who may give commands and read output: the address, for people.
    fn admit(&self, request: &Request<Bytes>) -> Result<String, ApiError> {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
        self.control_auth.admit(request.headers(), peer).map_err(ApiError::from)?;
        Ok(peer.map_or_else(|| "an unknown address".to_owned(), |peer| peer.to_string()))
    }

    fn heartbeat(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let (headers, body) = (request.headers(), request.body());
        // Agents are not browsers, so a request from a page is never a heartbeat.
        control_auth::not_a_browser(headers).map_err(ApiError::from)?;
        let counters = &self.metrics.http;
        let received = ReceivedHeartbeat::from_json(body).map_err(|invalid| {
            counters.invalid.inc();
            answers::invalid_heartbeat(&invalid)
        })?;
        let is_local = request.extensions().get::<PeerAddress>().is_some_and(|peer| peer.0.is_loopback());
        let peer = if is_local { Peer::Local } else { Peer::Remote };
        let presented = headers.get(SECRET_HEADER).and_then(|value| value.to_str().ok());
        let sender = HeartbeatSender { secret: presented.or(received.start_secret.as_deref()), peer };
        accept_heartbeat(&*self.control, counters, &received, &sender)
            .map_err(|rejected| answers::rejected(&rejected))?;
        Ok(acknowledged())
    }

    fn control(&self, request: &Request<Bytes>, id: &str, command: Command) -> Result<Response<Bytes>, ApiError> {
        let order = Order { command, with_dependents: with_dependents(request.uri().query())? };
        let (from, name) = (self.admit(request)?, command.as_str());
        self.control
            .control(id, order, &format!("POST /agents/{id}/{name} from {from}"))
            .map_err(|declined| answers::declined(&declined))?;
        Ok(json(StatusCode::ACCEPTED, &answers::command_queued(id, command)))
    }

    async fn reload(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let from = self.admit(request)?;
        let applied = self.control.reload(&format!("POST /reload from {from}")).await;
        Ok(json(StatusCode::OK, &applied.map_err(|refused| answers::reload_refused(&refused))?))
    }

    async fn metrics(&self) -> Result<Response<Bytes>, ApiError> {
        let own = self.metrics.own(&self.control.health(), self.control.counts());
        let rendered = large_answers::of_agents(&*self.control, move |agents| own.render(&agents)).await;
        let text = rendered?.map_err(|error| {
            tracing::error!(%error, "metrics cannot be rendered");
            ApiError::new(ErrorCode::InternalError, "the metrics cannot be rendered: see the daemon's log")
        })?;
        Ok(typed(StatusCode::OK, metrics::CONTENT_TYPE, text))
    }
}

impl<D: ControlApi> Handler for Http<D> {
    fn takes_body(&self, head: &Parts) -> bool {
        Route::of(head.uri.path()) == Some(Route::Heartbeat) && head.method == Method::POST
    }

    async fn handle(&self, request: Request<Bytes>) -> Response<ResponseBody> {
        self.answer(&request).await.unwrap_or_else(|error| refuse(error).map(ResponseBody::from))
    }
}

/// The query of a command: nothing, or `with_dependents=true` or `false`.
fn with_dependents(query: Option<&str>) -> Result<bool, ApiError> {
    match query {
        None | Some("" | "with_dependents=false") => Ok(false),
        Some("with_dependents=true") => Ok(true),
        Some(_) => {
            let text = "the query is not understood: write `?with_dependents=true`, or none";
            Err(ApiError::new(ErrorCode::InvalidRequest, text))
        }
    }
}

fn too_many_streams(limit: usize) -> ApiError {
    let text = format!("{limit} streams are open already: close the page or the command that reads one");
    ApiError::new(ErrorCode::Unavailable, text)
}

fn event_stream(body: ResponseBody) -> Response<ResponseBody> {
    typed(StatusCode::OK, "text/event-stream", Bytes::new()).map(|_| body)
}

fn not_found() -> ApiError {
    let (commands, others): (Vec<_>, Vec<_>) = route::paths().into_iter().partition(|(_, allows)| *allows == "POST");
    let names = |paths: Vec<(String, &str)>| paths.into_iter().map(|(path, _)| path).collect::<Vec<_>>().join(", ");
    let text = format!("this path does not exist: use {}, or POST to {}", names(others), names(commands));
    ApiError::new(ErrorCode::NotFound, text)
}

fn method_not_allowed(allowed: &'static str) -> Response<Bytes> {
    let mut response = refuse(ApiError::new(ErrorCode::MethodNotAllowed, format!("this path supports only {allowed}")));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn acknowledged() -> Response<Bytes> {
    const BODY: &[u8] = br#"{"message":"heartbeat received"}"#;
    debug_assert_eq!(BODY, format!(r#"{{"message":"{RECEIVED}"}}"#).as_bytes());
    let mut response = Response::new(Bytes::from_static(BODY));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error response. Unlike a [`Refusal`] of the server itself, it keeps the connection open, because the next
/// request may be valid.
fn refuse(error: ApiError) -> Response<Bytes> {
    let bearer = error.code == ErrorCode::Unauthorized;
    let mut response = Refusal::from(error).into_response();
    response.headers_mut().remove(http::header::CONNECTION);
    if bearer {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(body) {
        Ok(body) => typed(status, "application/json", body),
        Err(error) => {
            refuse(ApiError::new(ErrorCode::InternalError, format!("the answer cannot be written as JSON: {error}")))
        }
    }
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
