//! Checks requests before a handler sees them: they must be complete, within the limits and unambiguous.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Incoming};

use super::refusal::Refusal;

/// Checks the head.
///
/// # Errors
///
/// [`Refusal`] if the head is ambiguous, because a proxy or a library may read it in another way.
pub(super) fn check_head(head: &Parts, body: &Incoming, body_bytes: usize) -> Result<(), Refusal> {
    check_target(&head.uri)?;
    check_headers(&head.headers)?;
    check_host(&head.headers, head.version)?;
    // A body that is declared too long is refused before it is read.
    let too_large = body.size_hint().lower() > u64::try_from(body_bytes).unwrap_or(u64::MAX);
    if too_large { Err(Refusal::body_too_large(body_bytes)) } else { Ok(()) }
}

/// Reads the body. `arrived` gets the number of bytes after each part.
///
/// # Errors
///
/// [`Refusal`] if it is too long or malformed.
pub(super) async fn read_body(
    mut body: Incoming,
    body_bytes: usize,
    arrived: impl Fn(usize),
) -> Result<Bytes, Refusal> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::invalid("the request body is malformed: send valid chunks"))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > body_bytes {
            return Err(Refusal::body_too_large(body_bytes));
        }
        whole.extend_from_slice(data);
        arrived(whole.len());
    }
    Ok(whole.into())
}

/// The target must have a path. An authority in it is ignored.
fn check_target(uri: &Uri) -> Result<(), Refusal> {
    if uri.path().starts_with('/') {
        Ok(())
    } else {
        Err(Refusal::invalid("the request target has no path: begin it with `/`"))
    }
}

/// http-types panics on bytes that are not ASCII. A transfer coding that is not decoded would hide the content.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some((name, _)) = headers.iter().find(|(_, value)| value.to_str().is_err()) {
        return Err(Refusal::invalid(format!(
            "the header `{name}` contains bytes that are not visible ASCII: encode them"
        )));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !only_chunked || codings.next().is_some() {
        return Err(Refusal::invalid("the transfer coding is not supported: use `chunked` once, or none"));
    }
    Ok(())
}

fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Refusal::invalid("the header `host` is missing: send it, HTTP/1.1 requires it")),
        (Some(_), Some(_)) => Err(Refusal::invalid("the header `host` is set twice: send it once")),
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(()),
        (Some(_), None) => {
            Err(Refusal::invalid("the header `host` is invalid: send a name or address with an optional port"))
        }
    }
}

/// Whether the bytes are a host with an optional port: no user, no path, nothing else that fits into a URL.
fn is_authority(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~:[]%".contains(byte);
    let Some(authority) = Authority::try_from(host).ok().filter(|_| host.iter().all(plain)) else { return false };
    // The http crate does not check the port.
    let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    port.is_none_or(|port| port.parse::<u16>().is_ok())
}
