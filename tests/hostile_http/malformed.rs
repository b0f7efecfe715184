//! Malformed requests, and unusual ones that are valid.

use ops_http::server::ServerLimits;

use super::{GET, assert_refused};
use crate::support::api::ApiServer;
use crate::support::http::{Wire, exchange};

#[test]
fn bytes_that_are_not_visible_ascii_are_refused_without_a_panic() {
    let server = ApiServer::start(ServerLimits::default());
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
    let server = ApiServer::start(ServerLimits::default());
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
fn request_smuggling_is_refused() {
    let server = ApiServer::start(ServerLimits::default());
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
fn a_head_that_a_proxy_may_read_in_another_way_is_refused() {
    let server = ApiServer::start(ServerLimits::default());
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length: 60\r\ntransfer-encoding: chunked\r\n",
        "x: a line that ends too early\n",
        "x: y\n\r\n",
    ] {
        let request = format!("GET /health HTTP/1.1\r\nhost: agent\r\n{framing}\r\n0\r\n\r\n{GET}");
        assert_refused(&server, &request, 400, framing);
        let mut wire = Wire::to(server.address());
        wire.send(GET);
        assert_eq!(wire.reply().status, 200);
        wire.send(format!("{GET}{request}"));
        let all = wire.rest();
        let answers: Vec<_> = all.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(answers, ["200", "400"], "{framing}: {all}");
    }
}

#[test]
fn the_host_header_never_selects_a_route() {
    let server = ApiServer::start(ServerLimits::default());
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
fn each_form_of_request_target_is_routed_by_its_path() {
    let server = ApiServer::start(ServerLimits::default());
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

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = ApiServer::start(ServerLimits::default());
    let mut wire = Wire::to(server.address());
    wire.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.rest(), "");
}

#[test]
fn a_half_closed_connection_still_gets_its_answer() {
    let server = ApiServer::start(ServerLimits::default());
    let mut wire = Wire::to(server.address());
    wire.send(GET);
    wire.finish();
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.rest(), "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = ApiServer::start(ServerLimits::default());
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
fn expect_100_continue_is_answered() {
    let server = ApiServer::start(ServerLimits::default());
    let mut wire = Wire::to(server.address());
    wire.send("GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(wire.head().expect("100 Continue"), "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("{}");
    assert_eq!(wire.reply().status, 200);
    let too_long = "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 65537\r\nexpect: 100-continue\r\n\r\n";
    assert_refused(&server, too_long, 413, "a body that is not worth waiting for");
}
