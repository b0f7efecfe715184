//! What the HTTP server does with peers that are slow, broken or hostile. All of it while `/health` goes on to answer.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_io::Async;
use http::{Request, Response};
use hyper::body::Bytes;
use ops_agent::net::server::{Condition, Handler, Limits, Listener};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::agent::{Agent, Home};
use crate::support::api::{ApiServer, Served};
use crate::support::http::{PATIENCE, Wire, exchange, get};

const GET: &str = "GET /health HTTP/1.1\r\nhost: agent\r\n\r\n";

/// Far more than any test needs, and far less than what is sent at the server.
const MEMORY_SLACK: usize = 8 << 20;

fn short(limit: impl FnOnce(&mut Limits)) -> ApiServer {
    let mut limits = Limits::default();
    limit(&mut limits);
    ApiServer::start(limits)
}

/// A real agent, whose memory is its own: that of this process is shared with the tests that run beside.
struct Alone {
    agent: Agent,
    before: usize,
    _home: Home,
}

impl Alone {
    fn start(limits: &str) -> Self {
        let home = Home::new(&format!("http: {{ port: 0, limits: {{ {limits} }} }}\n"));
        let mut agent = home.start();
        assert_eq!(get(address(&mut agent), "/health").status, 200);
        let before = resident(&agent);
        Self { agent, before, _home: home }
    }

    fn wire(&mut self) -> Wire {
        Wire::to(address(&mut self.agent))
    }

    /// It kept next to nothing of what it was sent, and still answers.
    fn assert_unharmed(mut self) {
        let after = resident(&self.agent);
        assert!(after < self.before + MEMORY_SLACK, "from {} to {after} bytes", self.before);
        assert_eq!(get(address(&mut self.agent), "/health").status, 200);
    }
}

fn address(agent: &mut Agent) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], agent.port()))
}

/// What the agent holds in memory, in bytes.
fn resident(agent: &Agent) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("kilobytes") * 1024
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

// Broken requests.

#[test]
fn bytes_that_are_not_visible_ascii_are_refused_and_kill_nobody() {
    let server = ApiServer::start(Limits::default());
    for value in [&b"\xff"[..], "ü".as_bytes(), b"a\x80b", b"\x7f", b"\x01", b"\0"] {
        let bytes = [b"GET /health HTTP/1.1\r\nhost: agent\r\nx: ", value, b"\r\n\r\n"].concat();
        assert_refused(&server, bytes, 400, &format!("header value {value:?}"));
        let bytes = [b"GET /health HTTP/1.1\r\nhost: agent\r\nx", value, b": y\r\n\r\n"].concat();
        assert_refused(&server, bytes, 400, &format!("header name {value:?}"));
    }
    for target in [&b"/h\x01"[..], b"/\0", b"/\x7f"] {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nhost: agent\r\n\r\n"].concat();
        assert_refused(&server, bytes, 400, &format!("target {target:?}"));
    }
}

#[test]
fn what_is_not_http_is_refused() {
    let server = ApiServer::start(Limits::default());
    for garbage in [
        "garbage\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/3.0\r\n\r\n",
        "GET  /health HTTP/1.1\r\nhost: agent\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: agent\r\nno colon\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: agent\r\nx : blank before the colon\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: agent\r\nx: y\r\n folded\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 a TLS hello\r\n\r\n",
    ] {
        assert_refused(&server, garbage, 400, garbage);
    }
}

#[test]
fn shapes_that_smuggle_a_second_request_are_refused() {
    let server = ApiServer::start(Limits::default());
    let smuggled = "GET /metrics HTTP/1.1\r\nhost: agent\r\n\r\n";
    for framing in [
        "content-length: +5",
        "content-length: -1",
        "content-length: 5, 6",
        "content-length: 0x5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 99999999999999999999",
        "content-length:",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
    ] {
        let request = format!("POST /reload HTTP/1.1\r\nhost: agent\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}");
        assert_refused(&server, request, 400, framing);
    }
    for chunks in
        ["\r\n\r\n0\r\n\r\n", "-1\r\n\r\n", "ffffffffffffffffff\r\n", "5 \r\nabc", "xyz\r\n\r\n", "3\r\nabcX0\r\n\r\n"]
    {
        let head = "POST /reload HTTP/1.1\r\nhost: agent\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut wire = Wire::to(server.address());
        wire.send(format!("{head}{chunks}{smuggled}"));
        wire.finish();
        let all = wire.rest();
        assert!(all.starts_with("HTTP/1.1 400 ") && all.matches("HTTP/1.1 ").count() == 1, "{chunks:?}: {all}");
    }
    assert!(server.reloads.is_empty(), "none of them reached the loop");
}

#[test]
fn a_length_beside_a_transfer_coding_ends_the_connection_after_one_answer() {
    let server = ApiServer::start(Limits::default());
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 60\r\ntransfer-encoding: chunked",
    ] {
        let mut wire = Wire::to(server.address());
        wire.send(format!("GET /health HTTP/1.1\r\nhost: agent\r\n{framing}\r\n\r\n0\r\n\r\n{GET}"));
        let all = wire.rest();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{framing}: {all}");
    }
}

#[test]
fn a_host_is_an_authority_and_never_a_route() {
    let server = ApiServer::start(Limits::default());
    for host in ["a/health?x=", "a/health#", "u@agent", "a b", "a\\b", "[::1", "a:b:c", "a:99999x", "http://agent", ""]
    {
        assert_refused(&server, format!("GET /nowhere HTTP/1.1\r\nhost: {host}\r\n\r\n"), 400, host);
    }
    assert_refused(&server, "GET /health HTTP/1.1\r\n\r\n", 400, "no host");
    assert_refused(&server, "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "two hosts");
    for host in ["agent", "127.0.0.1:8081", "[::1]:8081", "AGENT.example.org."] {
        let ask = |path| exchange(server.address(), format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).status;
        assert_eq!((ask("/health"), ask("/nowhere")), (200, 404), "{host}");
    }
}

#[test]
fn every_form_of_target_is_read_as_its_path() {
    let server = ApiServer::start(Limits::default());
    let ask = |line: &str| exchange(server.address(), format!("{line} HTTP/1.1\r\nhost: agent\r\n\r\n")).status;
    assert_eq!(ask("GET http://elsewhere.example/health"), 200);
    assert_eq!(ask("GET http://elsewhere.example/nowhere?x=/health"), 404);
    assert_eq!(ask("GET /health?x=%zz&%%%&=&&"), 200);
    assert_eq!(ask("GET /%zz%"), 404);
    for odd in
        ["OPTIONS *", "GET *", "CONNECT agent:80", "GET agent", "GET /x/../health", "GET /./health", "GET /%2e/health"]
    {
        assert_eq!(ask(odd), 400, "{odd}");
    }
}

// The ordinary, done right.

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.rest(), "");
}

#[test]
fn a_peer_that_has_finished_sending_still_gets_its_answer() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send(GET);
    wire.finish();
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.rest(), "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send(format!("{GET}GET /nowhere HTTP/1.1\r\nhost: agent\r\n\r\n").repeat(20));
    for _ in 0..20 {
        assert_eq!(wire.reply().status, 200);
        assert_eq!(wire.reply().status, 404);
    }
    wire.send(format!("{GET}garbage\r\n\r\n"));
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.reply().status, 400);
    assert_eq!(wire.rest(), "");
}

#[test]
fn whoever_asks_whether_to_go_on_is_told() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send("GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(wire.head().expect("word to go on"), "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("{}");
    assert_eq!(wire.reply().status, 200);
    let too_long = "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 65537\r\nexpect: 100-continue\r\n\r\n";
    assert_refused(&server, too_long, 413, "a body that is not worth waiting for");
}

// Too much, and too slow.

#[test]
fn a_head_without_end_is_refused_and_not_kept() {
    let mut alone = Alone::start("");
    for line in ["x: y\r\n", "a"] {
        let mut wire = alone.wire();
        wire.send("GET /health HTTP/1.1\r\nhost: agent\r\n");
        let block = line.repeat(65536 / line.len());
        let mut sent = 0;
        // Ends when the server closes: it does not read on for ever.
        while sent < 256 << 20 && wire.send(&block) {
            sent += block.len();
        }
        assert!(sent < 256 << 20, "the server took {sent} bytes of head");
    }
    alone.assert_unharmed();
    let server = ApiServer::start(Limits::default());
    let head = format!("GET /health HTTP/1.1\r\nhost: agent\r\nx: {}\r\n\r\n", "y".repeat(9000));
    assert_refused(&server, head, 431, "a head over the limit");
    let many = format!("GET /health HTTP/1.1\r\nhost: agent\r\n{}\r\n", "x: y\r\n".repeat(150));
    assert_refused(&server, many, 431, "150 headers");
    let just = format!("GET /health HTTP/1.1\r\nhost: agent\r\nx: {}\r\n\r\n", "y".repeat(8000));
    assert_eq!(exchange(server.address(), just).status, 200);
}

#[test]
fn a_body_over_the_limit_is_refused_and_not_kept() {
    let server = ApiServer::start(Limits::default());
    let post = "GET /health HTTP/1.1\r\nhost: agent\r\n";
    assert_refused(&server, format!("{post}content-length: 65537\r\n\r\n"), 413, "announced");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    assert_refused(&server, format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}"), 413, "chunked");
    let mut alone = Alone::start("");
    let mut wire = alone.wire();
    wire.send(format!("{post}transfer-encoding: chunked\r\n\r\n"));
    let mut sent = 0;
    while sent < 256 << 20 && wire.send(&chunk) {
        sent += chunk.len();
    }
    assert!(sent < 256 << 20, "the server took {sent} bytes of body");
    alone.assert_unharmed();
    let just = format!("{post}content-length: 65536\r\n\r\n{}", "x".repeat(65536));
    assert_eq!(exchange(server.address(), just).status, 200);
}

#[test]
fn dribbled_bytes_do_not_move_the_deadline() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(200);
        limits.body_timeout = Duration::from_millis(200);
    });
    for start in ["GET /health HTTP/1.1\r\nx: ", "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 60000\r\n\r\n"]
    {
        let mut wire = Wire::to(server.address());
        wire.send(start);
        for _ in 0..6000 {
            std::thread::sleep(Duration::from_millis(5));
            if !wire.send("y") {
                break;
            }
        }
        assert!(!wire.send("y"), "closed, however much comes");
    }
}

#[test]
fn half_sent_requests_are_told_that_they_took_too_long() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(100);
        limits.body_timeout = Duration::from_millis(100);
    });
    assert_refused(&server, "GET /health HTTP/1.1\r\nho", 408, "half a head");
    let half = "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 10\r\n\r\nhalf";
    assert_refused(&server, half, 408, "half a body");
}

#[test]
fn the_silent_and_the_idle_are_closed_without_a_word() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(100);
        limits.idle_timeout = Duration::from_millis(100);
    });
    assert_eq!(Wire::to(server.address()).rest(), "");
    let mut idle = Wire::to(server.address());
    idle.send(GET);
    assert_eq!(idle.reply().status, 200);
    assert_eq!(idle.rest(), "");
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let mut alone = Alone::start("write_timeout: 200ms");
    let mut wire = alone.wire();
    let block = GET.repeat(1000);
    let mut sent = 0;
    while sent < 1 << 30 && wire.send(&block) {
        sent += block.len();
    }
    assert!(sent < 1 << 30, "the server never gave up");
    alone.assert_unharmed();
}

// Crowds.

#[test]
fn a_thousand_idle_or_half_sent_connections_do_not_lock_out_a_probe() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("up to the hard limit");
    let server = ApiServer::start(Limits::default());
    for opening in
        ["", GET, "GET /health HTTP/1.1\r\nhost:", "GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"]
    {
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            let mut wire = Wire::to(server.address());
            wire.send(opening);
            crowd.push(wire);
        }
        for _ in 0..20 {
            assert_eq!(get(server.address(), "/health").status, 200, "among 1000 of {opening:?}");
        }
        // The first had to make room for the last.
        assert!(!crowd.remove(0).rest().contains("503"));
    }
}

#[test]
fn requests_in_the_works_keep_their_place_and_the_next_peer_is_told() {
    let server = short(|limits| limits.connections_loopback = 2);
    let ask = || {
        let mut wire = Wire::to(server.address());
        wire.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
        (wire, server.reloads.recv_blocking().expect("the request has arrived"))
    };
    let (mut first, one) = ask();
    let (mut second, two) = ask();
    // Says nothing, so that nothing of its own resets the connection before the answer is read.
    let turned_away = Wire::to(server.address()).reply();
    assert_eq!((turned_away.status, turned_away.code().as_str()), (503, "UNAVAILABLE"));
    for request in [one, two] {
        request.answer(Ok(std::time::SystemTime::UNIX_EPOCH));
    }
    assert_eq!((first.reply().status, second.reply().status), (200, 200));
    assert_eq!(get(server.address(), "/health").status, 200, "there is room again");
}

// Misfortune.

struct Brittle;

impl Handler for Brittle {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        assert!(request.uri().path() != "/panic", "as the test asked for");
        Response::new(Bytes::from_static(b"fine"))
    }
}

#[test]
fn a_panic_costs_the_connection_in_which_it_happened_and_no_more() {
    let mut served = Served::start(Limits::default(), || Brittle);
    let mut other = Wire::to(served.address);
    other.send(GET);
    assert_eq!(other.reply().body, "fine");
    let mut broken = Wire::to(served.address);
    broken.send("GET /panic HTTP/1.1\r\nhost: agent\r\n\r\n");
    assert_eq!(broken.rest(), "");
    other.send(GET);
    assert_eq!(other.reply().body, "fine");
    assert_eq!(get(served.address, "/health").body, "fine");
    served.begin_drain(PATIENCE);
    assert_eq!(served.drained(), 0, "the panicked connection is not counted any more");
}

/// A listener that runs out of descriptors when the test says so.
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
fn running_out_of_descriptors_is_reported_and_cleared_even_if_nobody_connects() {
    let exhausted = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&exhausted);
    let served = Served::start_on(Limits::default(), || Brittle, |inner| Exhausted { inner, now });
    let mut open = Wire::to(served.address);
    open.send(GET);
    assert_eq!(open.reply().status, 200);

    exhausted.store(true, Ordering::Relaxed);
    let mut waiting = Wire::to(served.address);
    waiting.send(GET);
    let condition = served.conditions.recv_timeout(PATIENCE).expect("a report");
    assert!(matches!(&condition, Condition::Failing(why) if why.contains("Too many open files")), "{condition:?}");
    open.send(GET);
    assert_eq!(open.reply().status, 200, "who is connected is served");

    exhausted.store(false, Ordering::Relaxed);
    assert_eq!(served.conditions.recv_timeout(PATIENCE), Ok(Condition::Accepting));
    assert_eq!(waiting.reply().status, 200, "who waited is served");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let served = Served::start(Limits::default(), || Brittle);
    let error = ops_agent::net::server::bind(served.address).expect_err("taken").to_string();
    assert!(error.contains(&format!("port {} is taken", served.address.port())), "{error}");
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = ops_agent::net::server::bind(nowhere).expect_err("not ours").to_string();
    assert!(error.contains("192.0.2.1"), "{error}");
}

// The end.

#[test]
fn a_drain_closes_the_idle_at_once_and_lets_the_others_finish() {
    let mut server = ApiServer::start(Limits::default());
    let mut idle = Wire::to(server.address());
    idle.send(GET);
    assert_eq!(idle.reply().status, 200);
    let mut silent = Wire::to(server.address());
    let mut half_sent = Wire::to(server.address());
    half_sent.send("GET /health HTTP/1.1\r\nho");
    let mut in_flight = Wire::to(server.address());
    in_flight.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
    let request = server.reloads.recv_blocking().expect("the request has arrived");

    server.served.begin_drain(Duration::from_secs(600));
    assert_eq!((idle.rest(), silent.rest(), half_sent.rest()), Default::default());
    request.answer(Ok(std::time::SystemTime::UNIX_EPOCH));
    let reply = in_flight.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(server.served.drained(), 0, "nothing was cut off");
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "nobody listens any more");
}

#[test]
fn a_drain_cuts_off_what_outlasts_its_grace() {
    let mut server = ApiServer::start(Limits::default());
    let mut in_flight = Wire::to(server.address());
    in_flight.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
    let _never_answered = server.reloads.recv_blocking().expect("the request has arrived");
    server.served.begin_drain(Duration::from_millis(50));
    assert_eq!(server.served.drained(), 1);
    assert_eq!(in_flight.rest(), "");
}
