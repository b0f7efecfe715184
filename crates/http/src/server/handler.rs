//! What handles requests.

use std::future::Future;
use std::net::IpAddr;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Bytes;

use super::body::ResponseBody;

/// The address of the peer, in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// The size limit of a body that the handler does not want, in bytes. Some clients send `{}` or an empty form with each POST.
pub(super) const IGNORED_BODY_BYTES: usize = 1024;

/// Handles requests. It gets only requests that are complete, within the limits and safe for tide and http-types.
pub trait Handler: 'static {
    /// Handles one request. The server sets no time limit here, so the handler needs its own.
    fn handle(&self, request: Request<Bytes>) -> impl Future<Output = Response<ResponseBody>>;

    /// Whether a request with this head may have a body of the configured size. If not, a body of more than
    /// 1 KiB is refused, where its size is declared before any of it is read.
    fn takes_body(&self, _head: &Parts) -> bool {
        true
    }
}
