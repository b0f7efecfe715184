//! JSON responses.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;

use ops_http::server::RouteResponse;
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

pub(super) const JSON: &str = "application/json";

/// A response with a JSON body.
pub(super) fn json(status: u16, body: &impl Serialize) -> RouteResponse {
    match serde_json::to_vec(body) {
        Ok(text) => typed(status, JSON, text),
        Err(failed) => {
            error(&ApiError::new(ErrorCode::InternalError, format!("the response cannot be encoded as JSON: {failed}")))
        }
    }
}

/// An error response.
pub(super) fn error(error: &ApiError) -> RouteResponse {
    typed(error.code.status(), JSON, error.to_json())
}

/// A response with a body of this type. It must not be cached, because the state may change at any time.
pub(super) fn typed(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> RouteResponse {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    RouteResponse(response)
}
