//! One connection, from accept to close.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::SystemTime;

use futures_lite::{AsyncRead, AsyncWrite};
use http::header::DATE;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use super::body::{CountedBody, ResponseBody};
use super::conn_state::{CloseReason, ConnState, Phase};
use super::connections::{Admission, Connections};
use super::guarded_io::{GuardedIo, Scratch};
use super::handler::{Handler, IGNORED_BODY_BYTES, PeerAddress};
use super::head_scan::Heads;
use super::limits::ServerLimits;
use super::refusal::{self, Refusal};
use super::request;
use crate::log_limit::LogLimit;
use crate::tls::ProtocolError;
use ops_runtime::clock;

/// The minimum buffer size of hyper, in bytes.
const MIN_BUFFER: usize = 8 * 1024;

/// What all connections of a server share.
pub(super) struct ServerContext<H> {
    handler: H,
    limits: ServerLimits,
    scratch: Scratch,
    /// Limits the log lines about TLS on a plain port.
    tls_on_plain: LogLimit,
}

impl<H> ServerContext<H> {
    pub(super) fn new(handler: H, limits: ServerLimits) -> Self {
        // The size of hyper's buffer before its first read.
        let scratch = vec![0; MIN_BUFFER].into_boxed_slice();
        Self { handler, limits, scratch: Rc::new(RefCell::new(scratch)), tls_on_plain: LogLimit::default() }
    }
}

/// Serves a connection to its end.
pub(super) async fn run<S, H>(stream: S, admission: &Admission, context: Rc<ServerContext<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let conn_state = &admission.conn_state;
    let limits = &context.limits;
    let peer = PeerAddress(admission.peer);
    let exchange = || Exchange { conn_state: Rc::clone(conn_state), connections: Rc::clone(&admission.connections) };
    let service = service_fn(|request| respond(request, peer, exchange(), Rc::clone(&context)));
    let io = GuardedIo::new(stream, Rc::clone(conn_state), Rc::clone(&context.scratch));
    let mut connection = builder(limits).serve_connection(io, service);
    let ended = conn_state
        .watch(limits, |cx| {
            if conn_state.is_draining() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await;
    if conn_state.protocol_error() == Some(ProtocolError::Tls)
        && let Some(count) = context.tls_on_plain.count()
    {
        tracing::warn!(peer = %admission.peer, count, "a client uses TLS on a plain HTTP port: use `http://` there");
    }
    let in_time = !matches!(ended, Err(CloseReason::Expired(Phase::New)));
    let closing_response = closing_response(ended, conn_state, limits);
    let mut stream = connection.into_parts().io.into_inner();
    let Some(closing_response) = closing_response else {
        if !in_time {
            // One poll, so that the TLS stream logs a handshake that was too slow. A displaced one gets no such call.
            let _ = Pin::new(&mut stream).poll_close(&mut Context::from_waker(Waker::noop()));
        }
        return;
    };
    conn_state.enter(Phase::Lingering);
    // Boxed, because few connections get here and the future of every connection would be larger.
    let mut closing = Box::pin(refusal::send(stream, closing_response));
    // Give up if the peer does not read the error response.
    let _ = conn_state.watch(limits, |cx| closing.as_mut().poll(cx)).await;
}

fn builder(limits: &ServerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        // A peer that has closed its sending side may still read.
        .half_close(true)
        // ConnState keeps the deadlines, with one timer per connection instead of one per request.
        .header_read_timeout(None)
        // hyper panics while the clock is before 1970. `with_date` adds the header.
        .auto_date_header(false)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(MIN_BUFFER))
        .writev(false);
    builder
}

/// The first second that the header `Date` cannot express.
const YEAR_10000: u64 = 253_402_300_800;

/// One request on its connection, beside the other connections.
struct Exchange {
    conn_state: Rc<ConnState>,
    connections: Rc<Connections>,
}

async fn respond<H: Handler>(
    request: Request<Incoming>,
    peer: PeerAddress,
    exchange: Exchange,
    context: Rc<ServerContext<H>>,
) -> Result<Response<CountedBody>, Infallible> {
    let Exchange { conn_state, connections } = &exchange;
    let refuse = |refusal: Refusal| {
        conn_state.mark_refused();
        refusal.into_response().map(ResponseBody::from)
    };
    let head_only = request.method() == Method::HEAD;
    let mut response = match exchange.receive(request, &context).await {
        Ok(mut request) => {
            request.extensions_mut().insert(peer);
            conn_state.enter(Phase::Handling);
            let response = context.handler.handle(request).await;
            let bytes = match response.body() {
                ResponseBody::Whole(bytes) => bytes.len(),
                ResponseBody::Stream(_) => 0,
            };
            if connections.hold_response(conn_state, bytes) { response } else { refuse(Refusal::no_memory()) }
        }
        Err(refusal) => refuse(refusal),
    };
    if head_only && matches!(response.body(), ResponseBody::Stream(_)) {
        *response.body_mut() = Bytes::new().into();
    }
    conn_state.enter(if matches!(response.body(), ResponseBody::Stream(_)) {
        Phase::Streaming
    } else {
        Phase::Writing
    });
    let counted = |body| CountedBody { body, conn_state: Rc::clone(conn_state) };
    Ok(with_date(response, clock::wall()).map(counted))
}

/// Adds the header `Date`, if the clock is in the years that it can express.
fn with_date<B>(mut response: Response<B>, now: SystemTime) -> Response<B> {
    thread_local! {
        /// The second of the last response, and its date as text.
        static LAST: RefCell<(u64, Option<HeaderValue>)> = const { RefCell::new((0, None)) };
    }
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if !(1..YEAR_10000).contains(&second) {
        return response;
    }
    let date = LAST.with_borrow_mut(|last| {
        if last.0 != second {
            *last = (second, HeaderValue::try_from(httpdate::fmt_http_date(now)).ok());
        }
        last.1.clone()
    });
    if let Some(date) = date {
        response.headers_mut().insert(DATE, date);
    }
    response
}

impl Exchange {
    async fn receive<H: Handler>(
        &self,
        request: Request<Incoming>,
        context: &ServerContext<H>,
    ) -> Result<Request<Bytes>, Refusal> {
        if let Some(error) = self.conn_state.with_heads(Heads::take) {
            return Err(error.refusal());
        }
        let (head, body) = request.into_parts();
        let body_bytes = if context.handler.takes_body(&head) {
            context.limits.body_bytes
        } else {
            context.limits.body_bytes.min(IGNORED_BODY_BYTES)
        };
        request::check_head(&head, &body, body_bytes)?;
        if body.is_end_stream() {
            return Ok(Request::from_parts(head, Bytes::new()));
        }
        self.conn_state.enter(Phase::Body);
        let arrived = |bytes| self.connections.hold_body(&self.conn_state, bytes);
        Ok(Request::from_parts(head, request::read_body(body, body_bytes, arrived).await?))
    }
}

/// The response that ends the connection. `None`: close at once. `Some(None)`: no response, but an orderly close.
fn closing_response(
    ended: Result<hyper::Result<()>, CloseReason>,
    conn_state: &ConnState,
    limits: &ServerLimits,
) -> Option<Option<Refusal>> {
    if let (Some(error), Ok(_)) = (conn_state.protocol_error(), &ended) {
        // The peer of a failed handshake has got a TLS alert.
        let is_told = error == ProtocolError::Handshake;
        return Some((!is_told).then(|| Refusal::invalid(error.to_string())));
    }
    match ended {
        // Otherwise data that the refused peer still sends would reset the connection before it reads the response.
        Ok(Ok(())) => conn_state.is_refused().then_some(None),
        // hyper could not parse the request, and GuardedIo dropped its response. After the first byte of a response,
        // no other response is possible.
        Ok(Err(error)) if conn_state.has_no_request() && error.is_parse_too_large() => {
            Some(Some(Refusal::head_too_large(limits.head_bytes)))
        }
        Ok(Err(error)) if conn_state.has_no_request() && error.is_parse() => {
            Some(Some(Refusal::invalid(format!("this is not a valid HTTP/1.1 request: {error}"))))
        }
        Ok(Err(_)) => None,
        Err(CloseReason::Expired(Phase::Head)) => Some(Some(Refusal::too_slow("head", limits.head_timeout))),
        Err(CloseReason::Expired(Phase::Body)) => Some(Some(Refusal::too_slow("body", limits.body_timeout))),
        Err(CloseReason::Expired(_) | CloseReason::Displaced) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_response_has_a_date_only_if_the_clock_has_one() {
        let date = |now| with_date(Response::new(Bytes::new()), now).headers().get(DATE).cloned();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(date(at(1_764_928_800)).unwrap(), "Fri, 05 Dec 2025 10:00:00 GMT");
        assert_eq!(date(at(1_764_928_801)).unwrap(), "Fri, 05 Dec 2025 10:00:01 GMT");
        assert_eq!(date(at(1_764_928_801)).unwrap(), "Fri, 05 Dec 2025 10:00:01 GMT");
        assert!(date(at(YEAR_10000 - 1)).is_some());
        for now in
            [SystemTime::UNIX_EPOCH - Duration::from_secs(9 * 365 * 86_400), SystemTime::UNIX_EPOCH, at(YEAR_10000)]
        {
            assert_eq!(date(now), None, "{now:?}");
        }
    }
}
