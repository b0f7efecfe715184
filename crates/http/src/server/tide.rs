//! From hyper's words into tide's, and back.

use std::cell::RefCell;
use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Request, Response, Uri};
use hyper::body::Bytes;
use tide::http::headers::HeaderValue as TideValue;
use tide::http::{Method, Request as TideRequest, Response as TideResponse, Url};

use super::{Handler, Refusal};
use ops_protocol::ApiError;
use ops_protocol::error::Code;

/// The headers that routes get to see. Each costs allocations, and what nobody reads can harm nobody.
const FORWARDED: [HeaderName; 3] = [ACCEPT, AUTHORIZATION, CONTENT_TYPE];

/// Where all requests are sent, as far as a route can tell. Only path and query come from the peer: whatever host it
/// names cannot become part of the path.
const ORIGIN: &str = "http://localhost";

/// Routes of tide's, to be served.
pub struct Routes<State> {
    server: tide::Server<State>,
    /// What was asked for last. Probes ask for the same again and again, and a copy costs a tenth of parsing.
    last: RefCell<Option<Url>>,
}

impl<State> Routes<State> {
    /// Serves what `server` routes.
    #[must_use]
    pub const fn new(server: tide::Server<State>) -> Self {
        Self { server, last: RefCell::new(None) }
    }

    fn url(&self, uri: &Uri) -> Result<Url, Refusal> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut last = self.last.borrow_mut();
        if let Some(last) = last.as_ref().filter(|last| last.as_str().strip_prefix(ORIGIN) == Some(path)) {
            return Ok(last.clone());
        }
        match Url::parse(&format!("{ORIGIN}{path}")) {
            // A path that the parser changes (dots, odd bytes) is one on which a proxy may be of another opinion.
            Ok(url) if url.path() == uri.path() => Ok(last.insert(url).clone()),
            Ok(_) | Err(_) => {
                Err(Refusal::invalid("the path is not in its plain form: resolve dots and encode odd bytes"))
            }
        }
    }

    fn convert(&self, request: Request<Bytes>) -> Result<TideRequest, Refusal> {
        let (head, body) = request.into_parts();
        let mut converted = TideRequest::new(method(&head.method), self.url(&head.uri)?);
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
}

impl<State: Clone + Send + Sync + 'static> Handler for Routes<State> {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let request = match self.convert(request) {
            Ok(request) => request,
            Err(refusal) => return refusal.into_response(),
        };
        let failed = match self.server.respond::<_, TideResponse>(request).await {
            Ok(mut response) => match response.ext_mut().remove::<RouteResponse>() {
                Some(RouteResponse(answer)) => return answer,
                None => response.status().to_string(),
            },
            Err(error) => error.to_string(),
        };
        tracing::error!(error = failed, "a route failed");
        let error = ApiError::new(Code::InternalError, "the request could not be answered: see the log");
        Refusal::from(error).into_response()
    }
}

impl<State> fmt::Debug for Routes<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// What a route answers, in the words that hyper takes. tide carries it through as it is: made into a body and headers of
/// http-types, it would only be taken apart again, with a dozen allocations on the way.
#[derive(Debug)]
pub struct RouteResponse(pub Response<Bytes>);

impl From<RouteResponse> for tide::Response {
    fn from(answer: RouteResponse) -> Self {
        let mut response = Self::new(tide::StatusCode::Ok);
        response.insert_ext(answer);
        response
    }
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
