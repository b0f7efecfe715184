//! One connection, from accept to close.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use super::conn_state::{CloseReason, ConnState, Phase};
use super::connections::Admission;
use super::guarded_io::{GuardedIo, Scratch};
use super::refusal::{self, Refusal};
use super::{Handler, ServerLimits, request};
use crate::log_limit::LogLimit;
use crate::tls::Unusable;

/// hyper refuses to work with a smaller buffer.
const LEAST_BUFFER: usize = 8 * 1024;

/// What all connections of a server share.
pub(super) struct Host<H> {
    handler: H,
    limits: ServerLimits,
    scratch: Scratch,
    /// About peers that speak TLS where it is not spoken.
    strangers: LogLimit,
}

impl<H> Host<H> {
    pub(super) fn new(handler: H, limits: ServerLimits) -> Self {
        // As much as hyper has room for before it has read anything.
        let scratch = vec![0; LEAST_BUFFER].into_boxed_slice();
        Self { handler, limits, scratch: Rc::new(RefCell::new(scratch)), strangers: LogLimit::default() }
    }
}

/// Serves a connection to its end.
pub(super) async fn run<S, H>(stream: S, admission: &Admission, host: Rc<Host<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let conn_state = &admission.conn_state;
    let limits = &host.limits;
    let answer = service_fn(|request| answer(request, Rc::clone(conn_state), Rc::clone(&host)));
    let io = GuardedIo::new(stream, Rc::clone(conn_state), Rc::clone(&host.scratch));
    let mut connection = builder(limits).serve_connection(io, answer);
    let ended = conn_state
        .watch(limits, |cx| {
            if conn_state.is_draining() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await;
    if conn_state.unusable() == Some(Unusable::Tls)
        && let Some(count) = host.strangers.one_more()
    {
        tracing::warn!(peer = %admission.peer, count, "a client speaks TLS, and this port does not: it has to use `http://`");
    }
    let in_time = !matches!(ended, Err(CloseReason::Expired(Phase::New)));
    let closing_response = closing_response(ended, conn_state, limits);
    let mut stream = connection.into_parts().io.into_inner();
    let Some(closing_response) = closing_response else {
        if !in_time {
            // Nothing is waited for: it only tells a handshake that was too slow from one that was displaced.
            let _ = Pin::new(&mut stream).poll_close(&mut Context::from_waker(Waker::noop()));
        }
        return;
    };
    conn_state.enter(Phase::Lingering);
    // Boxed, since few connections come to this and each would keep room for it all its life.
    let mut goodbye = Box::pin(refusal::say(stream, closing_response));
    // Whoever does not even take the refusal has had its chance.
    let _ = conn_state.watch(limits, |cx| goodbye.as_mut().poll(cx)).await;
}

fn builder(limits: &ServerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        // A peer that has said all it had to say may still listen.
        .half_close(true)
        // The vitals keep the time: one timer for a connection's life instead of one for each request.
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(LEAST_BUFFER))
        .writev(false);
    builder
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    conn_state: Rc<ConnState>,
    host: Rc<Host<H>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match receive(request, &conn_state, host.limits.body_bytes).await {
        Ok(request) => {
            conn_state.enter(Phase::Handling);
            host.handler.handle(request).await
        }
        Err(refusal) => {
            conn_state.refuse();
            refusal.into_response()
        }
    };
    conn_state.enter(Phase::Writing);
    Ok(response.map(Full::new))
}

async fn receive(
    request: Request<Incoming>,
    conn_state: &ConnState,
    body_bytes: usize,
) -> Result<Request<Bytes>, Refusal> {
    request::check_head(&request, body_bytes)?;
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(head, Bytes::new()));
    }
    conn_state.enter(Phase::Body);
    Ok(Request::from_parts(head, request::read_body(body, body_bytes).await?))
}

/// What to say at the end: `None` for nothing and closing at once, `Some(None)` for nothing but an orderly close.
fn closing_response(
    ended: Result<hyper::Result<()>, CloseReason>,
    conn_state: &ConnState,
    limits: &ServerLimits,
) -> Option<Option<Refusal>> {
    if let (Some(unusable), Ok(_)) = (conn_state.unusable(), &ended) {
        // TLS has said what there is to say of a handshake that failed.
        let said = unusable == Unusable::NoHandshake;
        return Some((!said).then(|| Refusal::invalid(unusable.to_string())));
    }
    match ended {
        // What a refused peer still sends would reset the connection before it has read the answer.
        Ok(Ok(())) => conn_state.has_refused().then_some(None),
        // hyper could not make sense of it, and what it said about that was dropped. In the middle of an answer there is
        // no room for another.
        Ok(Err(error)) if conn_state.nothing_asked() && error.is_parse_too_large() => {
            Some(Some(Refusal::head_too_large(limits.head_bytes)))
        }
        Ok(Err(error)) if conn_state.nothing_asked() && error.is_parse() => {
            Some(Some(Refusal::invalid(format!("this is not an HTTP/1.1 request: {error}"))))
        }
        Ok(Err(_)) => None,
        Err(CloseReason::Expired(Phase::Head)) => Some(Some(Refusal::too_slow("head", limits.head_timeout))),
        Err(CloseReason::Expired(Phase::Body)) => Some(Some(Refusal::too_slow("body", limits.body_timeout))),
        Err(CloseReason::Expired(_) | CloseReason::Displaced) => None,
    }
}
