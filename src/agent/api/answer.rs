//! JSON answers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;

use ops_http::server::RouteResponse;
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

pub(super) const JSON: &str = "application/json";

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &impl Serialize) -> RouteResponse {
    match serde_json::to_vec(body) {
        Ok(text) => typed(status, JSON, text),
        Err(failed) => {
            error(&ApiError::new(ErrorCode::InternalError, format!("the answer cannot be put into JSON: {failed}")))
        }
    }
}

/// An answer that is an error.
pub(super) fn error(error: &ApiError) -> RouteResponse {
    typed(error.code.status(), JSON, error.to_json())
}

/// An answer with a body of a given type. A verdict of a moment ago is none: nobody may keep it.
pub(super) fn typed(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> RouteResponse {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    RouteResponse(response)
}
