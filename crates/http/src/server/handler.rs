//! What handles requests.

use std::future::Future;

use http::{Request, Response};
use hyper::body::Bytes;

/// Handles requests. It gets only requests that are complete, within the limits and safe for tide and http-types.
pub trait Handler: 'static {
    /// Handles one request. The server sets no time limit here, so the handler needs its own.
    fn handle(&self, request: Request<Bytes>) -> impl Future<Output = Response<Bytes>>;
}
