//! JSON answers.

use serde::Serialize;
use tide::{Response, StatusCode};

use crate::wire::ApiError;
use crate::wire::error::Code;

const JSON: &str = "application/json";

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => typed(status, JSON, text),
        Err(failed) => {
            error(&ApiError::new(Code::InternalError, format!("the answer cannot be put into JSON: {failed}")))
        }
    }
}

/// An answer that is an error.
pub(super) fn error(error: &ApiError) -> Response {
    typed(error.code.status(), JSON, error.to_json())
}

/// An answer with a body of a given type. A verdict of a moment ago is none: nobody may keep it.
pub(super) fn typed(status: u16, content_type: &str, body: String) -> Response {
    let status = StatusCode::try_from(status).unwrap_or(StatusCode::InternalServerError);
    let mut response = Response::new(status);
    response.set_body(body);
    // As a plain header: http-types' own type for it would put the parameters into another order.
    response.insert_header("content-type", content_type);
    response.insert_header("cache-control", "no-store");
    response
}
