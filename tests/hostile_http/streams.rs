//! Responses that are streams.

use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::Stream;
use http::{Request, Response};
use hyper::body::Bytes;
use ops_http::server::{Handler, ResponseBody, ServerLimits};

use super::GET;
use crate::support::api::Served;
use crate::support::http::{DEADLINE, Wire};

const PART: usize = 64 * 1024;

/// Sends `a` without end, or nothing after the first part. Reports each part, and its own end.
struct Letters {
    endless: bool,
    parts: usize,
    report: Sender<Option<usize>>,
}

impl Stream for Letters {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.parts > 0 && !self.endless {
            return Poll::Pending;
        }
        self.parts += 1;
        let _ = self.report.send(Some(self.parts));
        Poll::Ready(Some(Bytes::from(vec![b'a'; if self.endless { PART } else { 1 }])))
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        let _ = self.report.send(None);
    }
}

/// `/endless` is a stream without end, `/quiet` one that sends nothing more, and the rest is short.
struct Streams(Sender<Option<usize>>);

impl Handler for Streams {
    async fn handle(&self, request: Request<Bytes>) -> Response<ResponseBody> {
        let endless = match request.uri().path() {
            "/endless" => true,
            "/quiet" => false,
            _ => return Response::new(Bytes::from_static(b"fine").into()),
        };
        let letters = Letters { endless, parts: 0, report: self.0.clone() };
        Response::new(ResponseBody::Stream(Box::pin(letters)))
    }
}

fn served(limits: ServerLimits) -> (Served, Receiver<Option<usize>>) {
    let (report, reports) = mpsc::channel();
    (Served::start(limits, move || Streams(report)), reports)
}

fn ask(served: &Served, path: &str) -> Wire {
    let mut wire = Wire::to(served.address);
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: agent\r\n\r\n"));
    wire
}

fn ends(reports: &Receiver<Option<usize>>) -> usize {
    let mut parts = 0;
    while let Some(part) = reports.recv_timeout(DEADLINE).expect("the stream ends") {
        parts = part;
    }
    parts
}

#[test]
fn a_peer_that_does_not_read_a_stream_is_cut_off_and_no_part_is_made_for_it_meanwhile() {
    let (served, reports) =
        served(ServerLimits { write_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    let mut slow = ask(&served, "/endless");
    let parts = ends(&reports);
    let read = slow.end();
    assert!(read < parts * (PART + 16) + 1024, "{read} bytes of {parts} parts");
    assert!(parts * PART < read + 2 * PART, "one part and a buffer wait: {read} bytes of {parts} parts");
}

#[test]
fn a_stream_ends_with_its_peer_and_at_a_drain() {
    let (mut served, reports) = served(ServerLimits::default());
    let mut gone = ask(&served, "/quiet");
    gone.until("\r\na\r\n");
    gone.finish();
    assert_eq!((ends(&reports), gone.rest().as_str()), (1, ""), "the peer has closed its side");
    let mut talks = ask(&served, "/quiet");
    talks.until("\r\na\r\n");
    talks.send(GET);
    assert_eq!((ends(&reports), talks.rest().as_str()), (1, ""), "the peer sends more");
    let mut open = ask(&served, "/quiet");
    open.until("\r\na\r\n");
    served.begin_drain(DEADLINE);
    assert_eq!((ends(&reports), open.rest().as_str()), (1, ""), "the server does not wait for it");
    assert_eq!(served.drained(), 0);
}

#[test]
fn a_quiet_stream_outlives_every_timeout() {
    let short = Duration::from_millis(50);
    let limits = ServerLimits {
        head_timeout: short,
        body_timeout: short,
        write_timeout: short,
        idle_timeout: short,
        ..ServerLimits::default()
    };
    let (mut served, reports) = served(limits);
    let mut open = ask(&served, "/quiet");
    open.until("\r\na\r\n");
    // Three connections after one another that send nothing, each until its timeout.
    for _ in 0..3 {
        Wire::to(served.address).end();
    }
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), [Some(1)], "it is open");
    served.begin_drain(Duration::ZERO);
    served.drained();
}
