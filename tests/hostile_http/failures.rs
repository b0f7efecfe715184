//! A panic in a handler, a taken port, and exhausted descriptors.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_io::Async;
use http::{Request, Response};
use hyper::body::Bytes;
use ops_http::server::{Handler, Listener, ListenerState, ResponseBody, ServerLimits};

use super::GET;
use crate::support::api::Served;
use crate::support::http::{DEADLINE, Wire, get};

struct Brittle;

impl Handler for Brittle {
    async fn handle(&self, request: Request<Bytes>) -> Response<ResponseBody> {
        assert!(request.uri().path() != "/panic", "the test requests a panic");
        Response::new(Bytes::from_static(b"fine").into())
    }
}

#[test]
fn a_panic_in_a_handler_closes_only_its_connection() {
    let mut served = Served::start(ServerLimits::default(), || Brittle);
    let mut other = Wire::to(served.address);
    other.send(GET);
    assert_eq!(other.reply().body, "fine");
    let mut broken = Wire::to(served.address);
    broken.send("GET /panic HTTP/1.1\r\nhost: agent\r\n\r\n");
    assert_eq!(broken.rest(), "");
    other.send(GET);
    assert_eq!(other.reply().body, "fine");
    assert_eq!(get(served.address, "/health").body, "fine");
    served.begin_drain(DEADLINE);
    assert_eq!(served.drained(), 0, "the panicked connection is not counted any more");
}

/// A listener that runs out of descriptors on the test's command.
struct Exhausted {
    inner: Async<TcpListener>,
    now: Arc<AtomicBool>,
}

impl Listener for Exhausted {
    type Stream = <Async<TcpListener> as Listener>::Stream;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        if self.now.load(Ordering::Relaxed) {
            return Err(rustix::io::Errno::MFILE.into());
        }
        self.inner.accept_now()
    }

    async fn readable(&self) -> io::Result<()> {
        Listener::readable(&self.inner).await
    }
}

#[test]
fn running_out_of_descriptors_is_reported_and_cleared_without_a_new_connection() {
    let exhausted = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&exhausted);
    let served = Served::start_on(ServerLimits::default(), || Brittle, |inner| Exhausted { inner, now });
    let mut open = Wire::to(served.address);
    open.send(GET);
    assert_eq!(open.reply().status, 200);

    exhausted.store(true, Ordering::Relaxed);
    let mut waiting = Wire::to(served.address);
    waiting.send(GET);
    let condition = served.conditions.recv_timeout(DEADLINE).expect("a report");
    assert!(matches!(&condition, ListenerState::Failing(why) if why.contains("Too many open files")), "{condition:?}");
    open.send(GET);
    assert_eq!(open.reply().status, 200, "a connected client is served");

    exhausted.store(false, Ordering::Relaxed);
    assert_eq!(served.conditions.recv_timeout(DEADLINE), Ok(ListenerState::Accepting));
    assert_eq!(waiting.reply().status, 200, "a waiting client is served");
}

#[test]
fn the_error_for_a_taken_port_names_it() {
    let served = Served::start(ServerLimits::default(), || Brittle);
    let error = ops_http::server::bind(served.address).expect_err("taken").to_string();
    assert!(error.contains(&format!("port {} is in use", served.address.port())), "{error}");
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = ops_http::server::bind(nowhere).expect_err("not ours").to_string();
    assert!(error.contains("192.0.2.1"), "{error}");
}
