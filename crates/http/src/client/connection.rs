//! One connection to a server. It has no task: it moves only while its caller polls it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Context;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use smol_hyper::rt::FuturesIo;

use super::ClientLimits;
use super::connect::ClientStream;
use super::limited_stream::{Allowance, LimitedStream};

pub(super) type HttpRequest = http::Request<Full<Bytes>>;
pub(super) type HttpResponse = http::Response<Incoming>;

/// The greatest number of headers in a response. The size limit of the head is reached first, if they are of usual length.
const MAX_HEADERS: usize = 1024;

/// A connection to a server. Dropping it closes it.
pub(super) struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// `None` after the connection has ended, because it must not be polled then.
    driver: ConnectionTask,
    limits: ClientLimits,
    allowance: Allowance,
}

impl Connection {
    pub(super) async fn open(stream: Box<dyn ClientStream>, limits: ClientLimits) -> hyper::Result<Self> {
        let limits = ClientLimits { head_bytes: limits.head_bytes.max(8192), ..limits };
        let allowance = Allowance::default();
        let stream = FuturesIo::new(LimitedStream::new(stream, allowance.clone()));
        // What other clients accept is accepted: an odd header is no reason to call a server unwell.
        let (requests, driver) = http1::Builder::new()
            .max_buf_size(limits.head_bytes)
            .max_headers(MAX_HEADERS)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(stream)
            .await?;
        Ok(Self { requests, driver: Some(driver), limits, allowance })
    }

    /// Whether it can take a request: the last exchange is over, and the server has neither closed it nor sent more.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self { requests, driver, .. } = self;
        drive(driver, requests.ready()).await.is_ok()
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(&mut self, request: HttpRequest) -> hyper::Result<HttpResponse> {
        let ClientLimits { head_bytes, body_bytes } = self.limits;
        // Informational responses may be as long as the head after them.
        self.allowance.reset(head_bytes.saturating_mul(2));
        let response = self.requests.send_request(request);
        let response = drive(&mut self.driver, response).await?;
        // A chunk of one byte is sent as six. The rest is for trailers.
        self.allowance.reset(body_bytes.saturating_mul(8).saturating_add(head_bytes.saturating_mul(2)));
        Ok(response)
    }

    /// Moves the connection, for a caller that reads a response body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        poll_driver(&mut self.driver, cx);
    }

    /// Whether the connection may serve another request.
    pub(super) const fn is_alive(&self) -> bool {
        self.driver.is_some()
    }
}

type ConnectionTask = Option<http1::Connection<FuturesIo<LimitedStream>, Full<Bytes>>>;

/// Moves the connection until `work` is done. `work` learns by itself when the connection ends.
async fn drive<T>(driver: &mut ConnectionTask, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        poll_driver(driver, cx);
        work.as_mut().poll(cx)
    })
    .await
}

fn poll_driver(driver: &mut ConnectionTask, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        *driver = None;
    }
}
