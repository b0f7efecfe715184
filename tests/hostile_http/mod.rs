//! The HTTP server with slow, broken and hostile peers. `/health` answers throughout.

mod failures;
mod limits;
mod malformed;
mod overload;
mod streams;

use ops_http::server::ServerLimits;

use crate::support::api::ApiServer;
use crate::support::http::{Wire, get};

const GET: &str = "GET /health HTTP/1.1\r\nhost: agent\r\n\r\n";

fn short(limit: impl FnOnce(&mut ServerLimits)) -> ApiServer {
    let mut limits = ServerLimits::default();
    limit(&mut limits);
    ApiServer::start(limits)
}

fn assert_refused(server: &ApiServer, bytes: impl AsRef<[u8]>, status: u16, why: &str) {
    let mut wire = Wire::to(server.address());
    wire.send(bytes);
    let reply = wire.reply();
    assert_eq!(reply.status, status, "{why}: {reply:?}");
    let code = if status == 413 { "PAYLOAD_TOO_LARGE" } else { "INVALID_REQUEST" };
    assert_eq!(reply.code(), code, "{why}");
    assert_eq!(reply.header("connection"), Some("close"), "{why}");
    assert_eq!(wire.rest(), "", "{why}: one answer, then the end");
    assert_eq!(get(server.address(), "/health").status, 200, "after {why}");
}
