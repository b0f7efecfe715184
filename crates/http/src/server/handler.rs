//! What handles requests.

use std::future::Future;
use std::net::IpAddr;

use http::{Request, Response};
use hyper::body::Bytes;

/// The address of the peer, in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// Handles requests. It gets only requests that are complete, within the limits and safe for tide and http-types.
pub trait Handler: 'static {
    /// Handles one request. The server sets no time limit here, so the handler needs its own.
    fn handle(&self, request: Request<Bytes>) -> impl Future<Output = Response<Bytes>>;
}
