//! From hyper's words into tide's, and back.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Bytes;
use tide::http::headers::HeaderValue as TideValue;
use tide::http::{Method, Request as TideRequest, Response as TideResponse, Url};

use super::{Handler, Refusal};
use crate::wire::ApiError;
use crate::wire::error::Code;

/// The headers that routes get to see. Each costs allocations, and what nobody reads can harm nobody.
const FORWARDED: [HeaderName; 3] = [ACCEPT, AUTHORIZATION, CONTENT_TYPE];

impl<State: Clone + Send + Sync + 'static> Handler for tide::Server<State> {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let request = match into_tide(request) {
            Ok(request) => request,
            Err(refusal) => return refusal.into_response(),
        };
        match self.respond::<_, TideResponse>(request).await {
            Ok(response) => from_tide(response).await,
            Err(error) => broken(&error),
        }
    }
}

fn into_tide(request: Request<Bytes>) -> Result<TideRequest, Refusal> {
    let (head, body) = request.into_parts();
    let mut converted = TideRequest::new(method(&head.method), url(&head.uri)?);
    for name in FORWARDED {
        for value in head.headers.get_all(&name) {
            // The server has checked that it is ASCII.
            if let Ok(value) = TideValue::from_bytes(value.as_bytes().to_vec()) {
                converted.append_header(name.as_str(), value);
            }
        }
    }
    if !body.is_empty() {
        converted.set_body(&body[..]);
    }
    Ok(converted)
}

/// Methods are case-sensitive, and http-types' own conversion is not. One that no route takes stands for all others.
fn method(method: &http::Method) -> Method {
    match *method {
        http::Method::GET => Method::Get,
        http::Method::HEAD => Method::Head,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::DELETE => Method::Delete,
        http::Method::PATCH => Method::Patch,
        http::Method::OPTIONS => Method::Options,
        _ => Method::Trace,
    }
}

/// Only path and query come from the peer: whatever host it names cannot become part of the path.
fn url(uri: &http::Uri) -> Result<Url, Refusal> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match Url::parse(&format!("http://localhost{path}")) {
        // A path that the parser changes (dots, odd bytes) is one on which a proxy may be of another opinion.
        Ok(url) if url.path() == uri.path() => Ok(url),
        Ok(_) | Err(_) => Err(Refusal::invalid("the path is not in its plain form: resolve dots and encode odd bytes")),
    }
}

async fn from_tide(mut response: TideResponse) -> Response<Bytes> {
    let body = match response.take_body().into_bytes().await {
        Ok(body) => Bytes::from(body),
        Err(error) => return broken(&error),
    };
    let mut converted = Response::new(body);
    *converted.status_mut() =
        StatusCode::from_u16(u16::from(response.status())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, values) in response.iter() {
        let Ok(name) = HeaderName::from_bytes(name.as_str().as_bytes()) else { continue };
        for value in values {
            if let Ok(value) = HeaderValue::from_str(value.as_str()) {
                converted.headers_mut().append(name.clone(), value);
            }
        }
    }
    converted
}

fn broken(error: &tide::http::Error) -> Response<Bytes> {
    tracing::error!(%error, "a route failed");
    Refusal::from(ApiError::new(Code::InternalError, "the request could not be answered: see the log")).into_response()
}
