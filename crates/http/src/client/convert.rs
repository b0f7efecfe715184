//! Converts requests and responses between surf's types and hyper's.

use http::header::{HeaderName, HeaderValue};
use http_body_util::Full;
use http_client::http_types::url::Position;
use http_client::http_types::{self, StatusCode, Url};
use hyper::body::Bytes;

use super::body::Body;
use super::connect::ConnectTarget;
use super::connection;
use super::error::RequestError;

/// The status code as the server sent it. http-types cannot represent the codes that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStatus(pub u16);

/// Headers that only the connection may set.
const FRAMING: [HeaderName; 4] =
    [http::header::CONNECTION, http::header::CONTENT_LENGTH, http::header::HOST, http::header::TRANSFER_ENCODING];

/// The target of a request, and the request for hyper.
pub(super) async fn request(
    mut from: http_types::Request,
) -> Result<(ConnectTarget, connection::HttpRequest), RequestError> {
    let body = from.take_body().into_bytes().await.map_err(|error| RequestError::Unsupported(error.to_string()))?;
    let target = target(from.url())?;
    let mut to = http::Request::builder()
        .method(from.method().as_ref())
        .uri(&from.url()[Position::BeforePath..Position::AfterQuery])
        .header(http::header::HOST, &from.url()[Position::BeforeHost..Position::AfterPort]);
    for (name, values) in &from {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(unsupported)?;
        if FRAMING.contains(&name) {
            continue;
        }
        for value in values {
            to = to.header(&name, HeaderValue::from_str(value.as_str()).map_err(unsupported)?);
        }
    }
    Ok((target, to.body(Full::new(Bytes::from(body))).map_err(unsupported)?))
}

fn unsupported(error: impl Into<http::Error>) -> RequestError {
    RequestError::Unsupported(format!("the request is not valid HTTP: {}", error.into()))
}

fn target(url: &Url) -> Result<ConnectTarget, RequestError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(RequestError::Unsupported(format!(
            "the scheme `{}` is not supported: use `http` or `https`",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RequestError::Unsupported("the URL contains a user name or a password: remove it".to_owned()));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(RequestError::Unsupported("the URL has no host: add one".to_owned()));
    };
    let host = host.to_owned();
    let authority = format!("{}://{host}:{port}", url.scheme());
    Ok(ConnectTarget { authority, secure: url.scheme() == "https", host, port })
}

/// The response for surf. Header values that are not visible ASCII are dropped, because http-types panics on them.
pub(super) fn response(head: &http::response::Parts, body: Body) -> http_types::Response {
    let code = head.status.as_u16();
    // RFC 9110, section 15: an unknown code is treated as the first of its class.
    let known = StatusCode::try_from(code).or_else(|_| StatusCode::try_from(code / 100 * 100));
    let mut to = http_types::Response::new(known.unwrap_or(StatusCode::BadGateway));
    to.ext_mut().insert(RawStatus(code));
    // Without the length, so that surf reads to the end, where the connection becomes idle.
    to.set_body(http_types::Body::from_reader(body, None));
    for name in head.headers.keys() {
        let values: Vec<http_types::headers::HeaderValue> =
            head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()?.parse().ok()).collect();
        if !values.is_empty() {
            to.insert_header(name.as_str(), values.as_slice());
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_url_becomes_the_target_and_a_header() {
        let url = Url::parse("http://127.0.0.1:81/heartbeat?x=1").unwrap();
        let (target, request) =
            smol::block_on(request(http_types::Request::new(http_types::Method::Post, url))).unwrap();
        assert_eq!(target.authority, "http://127.0.0.1:81");
        assert_eq!(request.uri(), "/heartbeat?x=1");
        assert_eq!(request.headers()["host"], "127.0.0.1:81");
    }

    #[test]
    fn an_unsupported_url_is_an_error_with_a_remedy() {
        for (url, expected) in [
            ("ftp://127.0.0.1/", "the scheme `ftp` is not supported: use `http` or `https`"),
            ("http://user@127.0.0.1/", "the URL contains a user name or a password: remove it"),
            ("https://:s3cret@127.0.0.1/", "the URL contains a user name or a password: remove it"),
        ] {
            let get = http_types::Request::new(http_types::Method::Get, Url::parse(url).unwrap());
            assert_eq!(smol::block_on(request(get)).err().unwrap().to_string(), expected, "{url}");
        }
    }
}
