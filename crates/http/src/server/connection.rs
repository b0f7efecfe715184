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

use super::connections::Admission;
use super::guarded_io::{GuardedIo, Scratch};
use super::refusal::{self, Refusal};
use super::vitals::{Cut, Phase, Vitals};
use super::{Handler, Limits, request};
use crate::quiet::Quiet;
use crate::tls::Unusable;

/// hyper refuses to work with a smaller buffer.
const LEAST_BUFFER: usize = 8 * 1024;

/// What all connections of a server share.
pub(super) struct Host<H> {
    handler: H,
    limits: Limits,
    scratch: Scratch,
    /// About peers that speak TLS where it is not spoken.
    strangers: Quiet,
}

impl<H> Host<H> {
    pub(super) fn new(handler: H, limits: Limits) -> Self {
        // As much as hyper has room for before it has read anything.
        let scratch = vec![0; LEAST_BUFFER].into_boxed_slice();
        Self { handler, limits, scratch: Rc::new(RefCell::new(scratch)), strangers: Quiet::default() }
    }
}

/// Serves a connection to its end.
pub(super) async fn run<S, H>(stream: S, admission: &Admission, host: Rc<Host<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let vitals = &admission.vitals;
    let limits = &host.limits;
    let answer = service_fn(|request| answer(request, Rc::clone(vitals), Rc::clone(&host)));
    let io = GuardedIo::new(stream, Rc::clone(vitals), Rc::clone(&host.scratch));
    let mut connection = builder(limits).serve_connection(io, answer);
    let ended = vitals
        .watch(limits, |cx| {
            if vitals.is_draining() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await;
    if vitals.unusable() == Some(Unusable::Tls)
        && let Some(count) = host.strangers.one_more()
    {
        tracing::warn!(peer = %admission.peer, count, "a client speaks TLS, and this port does not: it has to use `http://`");
    }
    let in_time = !matches!(ended, Err(Cut::Expired(Phase::New)));
    let farewell = farewell(ended, vitals, limits);
    let mut stream = connection.into_parts().io.into_inner();
    let Some(farewell) = farewell else {
        if !in_time {
            // Nothing is waited for: it only tells a handshake that was too slow from one that was displaced.
            let _ = Pin::new(&mut stream).poll_close(&mut Context::from_waker(Waker::noop()));
        }
        return;
    };
    vitals.enter(Phase::Lingering);
    // Boxed, since few connections come to this and each would keep room for it all its life.
    let mut goodbye = Box::pin(refusal::say(stream, farewell));
    // Whoever does not even take the refusal has had its chance.
    let _ = vitals.watch(limits, |cx| goodbye.as_mut().poll(cx)).await;
}

fn builder(limits: &Limits) -> Builder {
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
    vitals: Rc<Vitals>,
    host: Rc<Host<H>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match receive(request, &vitals, host.limits.body_bytes).await {
        Ok(request) => {
            vitals.enter(Phase::Handling);
            host.handler.handle(request).await
        }
        Err(refusal) => {
            vitals.refuse();
            refusal.into_response()
        }
    };
    vitals.enter(Phase::Writing);
    Ok(response.map(Full::new))
}

async fn receive(request: Request<Incoming>, vitals: &Vitals, body_bytes: usize) -> Result<Request<Bytes>, Refusal> {
    request::check_head(&request, body_bytes)?;
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(head, Bytes::new()));
    }
    vitals.enter(Phase::Body);
    Ok(Request::from_parts(head, request::read_body(body, body_bytes).await?))
}

/// What to say at the end: `None` for nothing and closing at once, `Some(None)` for nothing but an orderly close.
fn farewell(ended: Result<hyper::Result<()>, Cut>, vitals: &Vitals, limits: &Limits) -> Option<Option<Refusal>> {
    if let (Some(unusable), Ok(_)) = (vitals.unusable(), &ended) {
        // TLS has said what there is to say of a handshake that failed.
        let said = unusable == Unusable::NoHandshake;
        return Some((!said).then(|| Refusal::invalid(unusable.to_string())));
    }
    match ended {
        // What a refused peer still sends would reset the connection before it has read the answer.
        Ok(Ok(())) => vitals.has_refused().then_some(None),
        // hyper could not make sense of it, and what it said about that was dropped. In the middle of an answer there is
        // no room for another.
        Ok(Err(error)) if vitals.nothing_asked() && error.is_parse_too_large() => {
            Some(Some(Refusal::head_too_large(limits.head_bytes)))
        }
        Ok(Err(error)) if vitals.nothing_asked() && error.is_parse() => {
            Some(Some(Refusal::invalid(format!("this is not an HTTP/1.1 request: {error}"))))
        }
        Ok(Err(_)) => None,
        Err(Cut::Expired(Phase::Head)) => Some(Some(Refusal::too_slow("head", limits.head_timeout))),
        Err(Cut::Expired(Phase::Body)) => Some(Some(Refusal::too_slow("body", limits.body_timeout))),
        Err(Cut::Expired(_) | Cut::Displaced) => None,
    }
}
