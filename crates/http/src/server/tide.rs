//! Serves the routes of a tide application.

use std::cell::RefCell;
use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Request, Response, Uri};
use hyper::body::Bytes;
use tide::http::headers::HeaderValue as TideValue;
use tide::http::{Method, Request as TideRequest, Response as TideResponse, Url};

use super::body::ResponseBody;
use super::handler::{Handler, PeerAddress};
use super::refusal::Refusal;
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

/// The headers that routes get. The others are not converted, because each costs allocations.
const FORWARDED: [HeaderName; 3] = [ACCEPT, AUTHORIZATION, CONTENT_TYPE];

/// The origin of all URLs that routes get. Only path and query come from the peer, so its host cannot become part of
/// the path.
const ORIGIN: &str = "http://localhost";

/// A [`Handler`] for a tide application.
pub struct Routes<State> {
    server: tide::Server<State>,
    /// The last URL. Probes request the same URL again and again, and a copy costs a tenth of parsing.
    last: RefCell<Option<Url>>,
}

impl<State> Routes<State> {
    /// Serves the routes of `server`.
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
            // The parser changed the path (dots, unencoded bytes), so a proxy may have read it in another way.
            Ok(url) if url.path() == uri.path() => Ok(last.insert(url).clone()),
            Ok(_) | Err(_) => Err(Refusal::invalid(
                "the path is not normalized: resolve dot segments and percent-encode special characters",
            )),
        }
    }

    fn convert(&self, request: Request<Bytes>) -> Result<TideRequest, Refusal> {
        let (head, body) = request.into_parts();
        let mut converted = TideRequest::new(method(&head.method), self.url(&head.uri)?);
        for name in FORWARDED {
            for value in head.headers.get_all(&name) {
                // The server has checked that the value is ASCII.
                if let Ok(value) = TideValue::from_bytes(value.as_bytes().to_vec()) {
                    converted.append_header(name.as_str(), value);
                }
            }
        }
        // Only requests from other hosts pay for the copy.
        if let Some(peer) = head.extensions.get::<PeerAddress>().filter(|peer| !peer.0.is_loopback()) {
            converted.ext_mut().insert(*peer);
        }
        if !body.is_empty() {
            converted.set_body(&body[..]);
        }
        Ok(converted)
    }
}

impl<State: Clone + Send + Sync + 'static> Handler for Routes<State> {
    async fn handle(&self, request: Request<Bytes>) -> Response<ResponseBody> {
        let response = match self.convert(request) {
            Ok(request) => self.respond(request).await,
            Err(refusal) => refusal.into_response(),
        };
        response.map(ResponseBody::from)
    }
}

impl<State: Clone + Send + Sync + 'static> Routes<State> {
    async fn respond(&self, request: TideRequest) -> Response<Bytes> {
        let failed = match self.server.respond::<_, TideResponse>(request).await {
            Ok(mut response) => match response.ext_mut().remove::<RouteResponse>() {
                Some(RouteResponse(response)) => return response,
                None => response.status().to_string(),
            },
            Err(error) => error.to_string(),
        };
        tracing::error!(error = failed, "a route failed without a response");
        let error = ApiError::new(ErrorCode::InternalError, "internal error: see the log of this program");
        Refusal::from(error).into_response()
    }
}

impl<State> fmt::Debug for Routes<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// The response of a route, in hyper's type. tide passes it on unchanged. A conversion to http-types and back would
/// cost a dozen allocations.
#[derive(Debug)]
pub struct RouteResponse(pub Response<Bytes>);

impl From<RouteResponse> for tide::Response {
    fn from(route_response: RouteResponse) -> Self {
        let mut response = Self::new(tide::StatusCode::Ok);
        response.insert_ext(route_response);
        response
    }
}

/// Methods are case-sensitive, but the conversion of http-types is not. TRACE, which no route supports, represents
/// all others.
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
