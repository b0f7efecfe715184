//! One connection, one request at a time, moved only by whoever waits for it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncBufRead, AsyncRead};
use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use smol_hyper::rt::FuturesIo;

use super::Kept;
use super::connect::Stream;

pub(super) type Request = http::Request<Full<Bytes>>;
pub(super) type HttpResponse = http::Response<Incoming>;

/// A connection to a peer. Dropping it closes it.
pub(super) struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended, after which it must not be polled.
    driver: ConnectionTask,
}

impl Connection {
    pub(super) async fn open(stream: Box<dyn Stream>, head_bytes: usize) -> hyper::Result<Self> {
        let (requests, driver) =
            http1::Builder::new().max_buf_size(head_bytes.max(8192)).handshake(FuturesIo::new(stream)).await?;
        Ok(Self { requests, driver: Some(driver) })
    }

    /// Whether it can take a request: the last one is over, and the peer has neither closed it nor spoken unasked.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self { requests, driver } = self;
        drive(driver, requests.ready()).await.is_ok()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request) -> hyper::Result<HttpResponse> {
        let answer = self.requests.send_request(request);
        drive(&mut self.driver, answer).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        poll_driver(&mut self.driver, cx);
    }
}

type ConnectionTask = Option<http1::Connection<FuturesIo<Box<dyn Stream>>, Full<Bytes>>>;

/// Moves the connection until the work is done, which hears of the connection's end by itself.
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

/// The body of an answer. Read to its end, it leaves the connection for the next request; otherwise it takes the
/// connection with it.
pub(super) struct Body {
    /// Behind a mutex only because surf asks for `Sync`; it is never contended.
    reading: Mutex<Option<Reading>>,
    chunk: Bytes,
}

struct Reading {
    incoming: Incoming,
    left: usize,
    connection: Connection,
    authority: String,
    kept: Kept,
}

impl Body {
    pub(super) fn new(incoming: Incoming, limit: usize, connection: Connection, authority: String, kept: Kept) -> Self {
        let reading = Reading { incoming, left: limit, connection, authority, kept };
        Self { reading: Mutex::new(Some(reading)), chunk: Bytes::new() }
    }
}

impl AsyncBufRead for Body {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { reading, chunk } = self.get_mut();
        let slot = reading.get_mut().unwrap_or_else(PoisonError::into_inner);
        while chunk.is_empty() {
            let Some(reading) = slot else { break };
            reading.connection.poll(cx);
            match ready!(Pin::new(&mut reading.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    let Some(left) = reading.left.checked_sub(data.len()) else {
                        *slot = None;
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, "the answer is too long")));
                    };
                    reading.left = left;
                    *chunk = data;
                }
                Some(Err(error)) => {
                    *slot = None;
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                None => {
                    if let Some(Reading { connection, authority, kept, .. }) = slot.take()
                        && connection.driver.is_some()
                    {
                        kept.put(authority, connection);
                    }
                }
            }
        }
        Poll::Ready(Ok(chunk))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let chunk = &mut self.get_mut().chunk;
        *chunk = chunk.split_off(amount.min(chunk.len()));
    }
}

impl AsyncRead for Body {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(amount))
    }
}
