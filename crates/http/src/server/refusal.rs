//! Error responses that the server sends without its handler.

use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Bytes;

use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

/// How many bytes are read and discarded after an error response, so that the peer gets the response and not a reset.
const LINGER_BYTES: usize = 256 * 1024;

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    error: ApiError,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl Refusal {
    pub(super) fn invalid(error: impl Into<String>) -> Self {
        ApiError::new(ErrorCode::InvalidRequest, error).into()
    }

    pub(super) fn head_too_large(bytes: usize) -> Self {
        let error = ApiError::new(
            ErrorCode::InvalidRequest,
            format!("the request head is longer than {bytes} bytes: send a shorter one"),
        );
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error }
    }

    pub(super) fn body_too_large(bytes: usize) -> Self {
        ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the request body is longer than {bytes} bytes: send a shorter one"),
        )
        .into()
    }

    pub(super) fn too_slow(part: &str, limit: Duration) -> Self {
        let error = ApiError::new(
            ErrorCode::InvalidRequest,
            format!("the request {part} took longer than {limit:?}: send it faster"),
        );
        Self { status: StatusCode::REQUEST_TIMEOUT, error }
    }

    pub(super) fn no_memory() -> Self {
        let error =
            "other clients do not read their answers: try again in a second, or ask for a part such as one agent";
        ApiError::new(ErrorCode::Unavailable, error).into()
    }

    /// The response. It ends the connection.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.error.to_json()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// The response as bytes, for connections without hyper.
    fn to_bytes(&self) -> Vec<u8> {
        let body = self.error.to_json();
        let reason = self.status.canonical_reason().unwrap_or_default();
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.status.as_u16(),
            body.len(),
        )
        .into_bytes()
    }
}

/// Sends the response, if there is one, and closes the stream. Errors are ignored: the peer is gone then.
pub(super) async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<Refusal>) {
    if let Some(refusal) = refusal
        && stream.write_all(&refusal.to_bytes()).await.is_err()
    {
        return;
    }
    if stream.close().await.is_err() {
        return;
    }
    let mut rest = [0; 4096];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut rest).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
}

/// Refuses a connection for which there is no slot. Tries one write and does not wait.
pub(super) async fn reject(mut stream: impl AsyncWrite + Unpin) {
    let full = ApiError::new(ErrorCode::Unavailable, "too many connections: try again later");
    let bytes = Refusal::from(full).to_bytes();
    let _ = future::poll_once(stream.write(&bytes)).await;
}
