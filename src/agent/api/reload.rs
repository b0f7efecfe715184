//! `POST /reload`: requests a reload from the loop and returns the result.

use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use serde::Serialize;
use smol::channel::{self, TrySendError};
use tide::Request;

use super::answer::{error, json};
use super::{Api, Shared};
use crate::agent::reload::{ReloadError, ReloadRequest, ReloadResult};
use ops_http::server::{PeerAddress, RouteResponse};
use ops_protocol::ErrorCode;
use ops_protocol::{ApiError, Timestamp};

/// How long the response may wait for the result.
const RESULT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Reloaded {
    success: bool,
    message: &'static str,
    reloaded_at: Timestamp,
}

#[derive(Serialize)]
struct NotReloaded {
    success: bool,
    #[serde(flatten)]
    error: ApiError,
}

/// `POST /reload`.
pub(super) async fn reload(request: &Request<Shared>) -> RouteResponse {
    let api = &request.state().api;
    if let Some(token) = &api.token {
        let given = request.header("authorization").map(|values| values.as_str());
        if !token.admits(given, request.ext::<PeerAddress>().map(|peer| peer.0)) {
            return unauthorized();
        }
    } else if !api.verifies_clients && request.ext::<PeerAddress>().is_some_and(|peer| !peer.0.is_loopback()) {
        let text = "a request from another host needs a token: set `http.token_file`, or send SIGHUP";
        return error(&ApiError::new(ErrorCode::Forbidden, text));
    }
    respond(reload_result(api).await)
}

async fn reload_result(api: &Api) -> ReloadResult {
    let (reply, result) = channel::bounded(1);
    let request = ReloadRequest { by: "POST /reload".to_owned(), reply: Some(reply) };
    // A closed queue means that the loop has ended.
    api.reload.try_send(request).map_err(|error| match error {
        TrySendError::Full(_) => ReloadError::Busy,
        TrySendError::Closed(_) => ReloadError::NotNow,
    })?;
    let done = async { result.recv().await.unwrap_or(Err(ReloadError::NotNow)) };
    let late = async {
        Timer::after(RESULT_TIMEOUT).await;
        Err(ReloadError::NoResult(RESULT_TIMEOUT))
    };
    future::or(done, late).await
}

fn respond(result: ReloadResult) -> RouteResponse {
    let code = match &result {
        Ok(at) => {
            let body = Reloaded { success: true, message: "config reloaded successfully", reloaded_at: Timestamp(*at) };
            return json(200, &body);
        }
        Err(ReloadError::Invalid(_) | ReloadError::NeedsRestart(_)) => ErrorCode::ConfigError,
        Err(
            ReloadError::Log(_) | ReloadError::NoThread { .. } | ReloadError::TooSlow(_) | ReloadError::NoResult(_),
        ) => ErrorCode::InternalError,
        Err(ReloadError::NotNow) => ErrorCode::Unavailable,
        Err(ReloadError::Busy) => ErrorCode::Busy,
    };
    let text = result.err().map(|error| error.to_string()).unwrap_or_default();
    json(code.status(), &NotReloaded { success: false, error: ApiError::new(code, text) })
}

fn unauthorized() -> RouteResponse {
    let text = "a token is required: send `Authorization: Bearer …` with the content of `http.token_file`";
    let mut response = error(&ApiError::new(ErrorCode::Unauthorized, text));
    response.0.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
