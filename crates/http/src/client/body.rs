//! The body of a response.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncBufRead, AsyncRead};
use hyper::body::{Body as _, Bytes, Incoming};

use super::connection::Connection;
use super::idle::IdleConnections;

/// The body of a response. Read to its end, it makes the connection idle for the next request. Dropped before, it
/// closes the connection.
pub(super) struct Body {
    /// In a mutex only because surf requires `Sync`. It is never contended.
    reading: Mutex<Option<Reading>>,
    chunk: Bytes,
}

struct Reading {
    incoming: Incoming,
    left: usize,
    connection: Connection,
    authority: String,
    idle: IdleConnections,
}

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        limit: usize,
        connection: Connection,
        authority: String,
        idle: IdleConnections,
    ) -> Self {
        let reading = Reading { incoming, left: limit, connection, authority, idle };
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
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::FileTooLarge,
                            "the response body is over the limit",
                        )));
                    };
                    reading.left = left;
                    *chunk = data;
                }
                Some(Err(error)) => {
                    *slot = None;
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                None => {
                    if let Some(Reading { connection, authority, idle, .. }) = slot.take()
                        && connection.is_alive()
                    {
                        idle.put(authority, connection);
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
