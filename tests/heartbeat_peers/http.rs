//! The HTTP transport.

use std::time::Duration;

use ops_agent::testing::agent::heartbeat::{Failure, Reason, Sender};

use super::{AMPLE, OVER_HTTP, SHORT, give_up, send};
use crate::support::peer::{Behaviour, Peer};

fn sender(peer: &Peer) -> Sender {
    super::sender(Some(&peer.url()), None)
}

/// The failure that the peer's behaviour causes.
fn failure(behaviour: Behaviour, limit: Duration) -> Failure {
    let peer = Peer::http();
    peer.behave(behaviour);
    send(&mut sender(&peer), 1, limit).unwrap_err()
}

#[test]
fn the_daemon_gets_one_json_object_by_post() {
    let peer = Peer::http();
    assert_eq!(send(&mut sender(&peer), 120, AMPLE).unwrap(), OVER_HTTP);
    let [request] = &peer.received()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /heartbeat HTTP/1.1\r\n"), "{}", request.head);
    let head = request.head.to_ascii_lowercase();
    let host = peer.url().replace("http://", "host: ").replace("/heartbeat", "\r\n");
    for line in ["content-type: application/json\r\n", &host] {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
    assert_eq!(request.body["agent_id"], "agent-001");
    assert_eq!(request.body["sequence"], 120);
}

#[test]
fn one_connection_serves_many_heartbeats() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    (1..=5).for_each(|sequence| assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_HTTP));
    peer.behave(Behaviour::status(500, "", "trouble"));
    assert!(send(&mut sender, 6, AMPLE).is_err());
    assert_eq!((peer.received().len(), peer.connections()), (6, 1));
}

#[test]
fn an_absent_daemon_differs_from_a_failing_one_and_is_found_once_it_listens() {
    let peer = Peer::http_absent();
    let mut sender = sender(&peer);
    for _ in 0..2 {
        let failure = send(&mut sender, 1, AMPLE).unwrap_err();
        assert!(failure.is_unreachable(), "{failure}");
        peer.appear();
        assert_eq!(send(&mut sender, 2, AMPLE).unwrap(), OVER_HTTP);
        peer.vanish();
    }
    let nowhere = send(&mut super::sender(Some("http://nowhere.invalid/"), None), 1, AMPLE).unwrap_err();
    assert!(nowhere.is_unreachable(), "{nowhere}");
}

#[test]
fn a_host_name_is_resolved() {
    let peer = Peer::http();
    let url = peer.url().replace("127.0.0.1", "localhost");
    assert_eq!(send(&mut super::sender(Some(&url), None), 1, AMPLE).unwrap(), OVER_HTTP);
}

#[test]
fn no_peer_delays_a_heartbeat_beyond_its_timeout() {
    let slowly = b"HTTP/1.1 200 Very much in order indeed\r\ncontent-length: 0\r\n\r\n";
    for behaviour in [Behaviour::Hang, Behaviour::NeverRead, Behaviour::Dribble(slowly.to_vec())] {
        let failure = failure(behaviour, SHORT);
        assert!(matches!(&failure.reason, Reason::TimedOut(SHORT)), "{failure:?}");
        assert!(!failure.is_unreachable());
    }
}

#[test]
fn a_response_without_end_is_cut_off() {
    let informational = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let failure_now = failure(Behaviour::Repeat(Vec::new(), informational), AMPLE);
    let Reason::InvalidResponse(why) = &failure_now.reason else { panic!("{failure_now:?}") };
    assert_eq!(why.to_string(), "the response is not complete after 32768 bytes");
    // Leading zeros and trailing spaces do not make the size of a chunk larger.
    for filler in [b"0".as_slice(), b" "] {
        let head = b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n1";
        let failure_now = failure(Behaviour::Repeat(head.to_vec(), filler), AMPLE);
        assert!(!matches!(failure_now.reason, Reason::TimedOut(_)), "{failure_now:?}");
    }
}

#[test]
fn informational_responses_before_a_response_are_ignored() {
    let peer = Peer::http();
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".as_slice();
    let informational = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(100);
    peer.behave(Behaviour::Answer([&informational, response].concat()));
    let mut sender = sender(&peer);
    for sequence in 1..=3 {
        send(&mut sender, sequence, AMPLE).unwrap();
    }
    assert_eq!(peer.connections(), 1, "the limit is one per response");
}

#[test]
fn a_refusal_carries_the_daemon_s_message() {
    let body = r#"{"error":"invalid agent_id","code":"INVALID_AGENT_ID"}"#;
    for code in [302, 400, 404, 409, 413, 429, 499, 500, 503, 599] {
        let failure = failure(Behaviour::status(code, "", body), AMPLE);
        let Reason::Rejected(rejection) = &failure.reason else { panic!("{failure:?}") };
        assert_eq!(rejection.code, i64::from(code));
        assert_eq!(rejection.message.as_deref(), Some("INVALID_AGENT_ID: invalid agent_id"));
        let text = failure.to_string();
        assert!(text.contains(&format!("{code} (INVALID_AGENT_ID: invalid agent_id)")), "{text}");
    }
}

#[test]
fn every_2xx_status_is_an_acknowledgement() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    for code in [200, 201, 202, 204, 299] {
        peer.behave(Behaviour::status(code, "", ""));
        assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_HTTP, "{code}");
    }
    // And the rest of the answer is not read.
    peer.behave(Behaviour::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhear".to_vec()));
    assert_eq!(send(&mut sender, 2, Duration::from_secs(3)).unwrap(), OVER_HTTP);
}

#[test]
fn retry_after_of_a_busy_daemon_is_reported() {
    for (code, headers, pause) in [
        (429, "retry-after: 7\r\n", Some(7)),
        (503, "Retry-After: 99999999999999999999\r\n", None),
        (503, "retry-after: 18446744073709551615\r\n", Some(3600)),
        (503, "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", Some(3600)),
        (503, "retry-after: soon\r\n", None),
        (500, "retry-after: 7\r\n", None),
    ] {
        let failure = failure(Behaviour::status(code, headers, ""), AMPLE);
        assert_eq!(failure.retry_after(), pause.map(Duration::from_secs), "{code} {headers}");
    }
}

#[test]
fn headers_that_are_not_text_are_left_out() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    let answer = |code: u16| {
        let mut answer = format!("HTTP/1.1 {code} OK\r\ncontent-length: 0\r\nretry-after: 5").into_bytes();
        answer.extend_from_slice(b"\xff\xfe\r\nserver: caf\xe9\r\ncontent-type: \x80/\x80\r\n\r\n");
        Behaviour::Answer(answer)
    };
    peer.behave(answer(200));
    assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_HTTP);
    peer.behave(answer(503));
    let failure = send(&mut sender, 2, AMPLE).unwrap_err();
    assert!(matches!(&failure.reason, Reason::Rejected(_)) && failure.retry_after().is_none(), "{failure:?}");
}

#[test]
fn an_answer_that_is_not_http_is_reported_as_invalid() {
    for garbage in [&b"SSH-2.0-OpenSSH_9.9\r\n"[..], b"\xff\xfe\x00\x01\r\n\r\n", b"HTTP/1.1 99 Odd\r\n\r\n", b"{}\n"] {
        let failure = failure(Behaviour::Answer(garbage.to_vec()), AMPLE);
        assert!(matches!(&failure.reason, Reason::InvalidResponse(_)), "{failure:?}");
    }
}

#[test]
fn an_endless_head_is_not_read() {
    let peer = Peer::http();
    peer.behave(Behaviour::Flood(b"HTTP/1.1 200 OK\r\nx: ".to_vec()));
    let failure = send(&mut sender(&peer), 1, AMPLE).unwrap_err();
    assert!(matches!(&failure.reason, Reason::InvalidResponse(_)), "{failure:?}");
    assert!(peer.flooded() < 32 << 20, "{} bytes were taken", peer.flooded());
}

#[test]
fn a_gigabyte_of_body_is_not_read_and_the_status_counts() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    for framing in [
        "content-length: 1073741824\r\n\r\n",
        "connection: close\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n40000000\r\n",
    ] {
        let flood = |code: u16| Behaviour::Flood(format!("HTTP/1.1 {code} OK\r\n{framing}").into());
        peer.behave(flood(200));
        assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_HTTP, "{framing}");
        peer.behave(flood(500));
        let failure = send(&mut sender, 2, AMPLE).unwrap_err();
        assert!(matches!(&failure.reason, Reason::Rejected(no) if no.code == 500), "{failure:?}");
    }
    assert!(peer.flooded() < 192 << 20, "{} bytes were taken of 6 GiB", peer.flooded());
}

#[test]
fn a_connection_closed_instead_of_an_answer_is_a_failure() {
    for behaviour in [Behaviour::CloseOnAccept, Behaviour::CloseOnRequest] {
        let failure = failure(behaviour, AMPLE);
        assert!(matches!(&failure.reason, Reason::Closed(_)) && !failure.is_unreachable(), "{failure:?}");
    }
}

#[test]
fn a_stale_connection_loses_no_heartbeat() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    for sequence in 1..=3 {
        assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_HTTP);
        peer.hang_up();
    }
    assert_eq!((peer.received().len(), peer.connections()), (3, 3));
}

#[test]
fn a_cancelled_heartbeat_does_not_leave_its_answer_to_the_next() {
    let peer = Peer::http();
    let mut sender = sender(&peer);
    assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_HTTP);
    peer.behave(Behaviour::Hang);
    give_up(&mut sender, 2, &peer);
    peer.behave(Behaviour::status(500, "", "third"));
    let failure = send(&mut sender, 3, AMPLE).unwrap_err();
    assert!(failure.to_string().contains("third"), "{failure}");
    let received = peer.received();
    let came: Vec<_> =
        received.iter().map(|heartbeat| (heartbeat.body["sequence"].as_u64(), heartbeat.connection)).collect();
    assert_eq!(came, [(Some(1), 1), (Some(2), 1), (Some(3), 2)]);
}

#[test]
fn a_query_is_sent_to_the_daemon_and_never_shown() {
    let peer = Peer::http();
    peer.behave(Behaviour::status(401, "", ""));
    let mut sender = super::sender(Some(&(peer.url() + "?token=s3cret")), None);
    let failure = send(&mut sender, 1, AMPLE).unwrap_err();
    let head = peer.received()[0].head.to_ascii_lowercase();
    assert!(head.starts_with("post /heartbeat?token=s3cret http/1.1\r\n"), "{head}");
    for text in [failure.to_string(), format!("{failure:?}"), format!("{sender:?}"), sender.endpoint().to_owned()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(sender.endpoint(), peer.url());
}

#[test]
fn credentials_in_the_address_are_refused_and_never_shown_or_sent() {
    let peer = Peer::http();
    let url = peer.url().replace("http://", "http://agent:s3cret@");
    let mut sender = super::sender(Some(&url), None);
    let failure = send(&mut sender, 1, AMPLE).unwrap_err();
    assert!(matches!(&failure.reason, Reason::Unsupported(_)), "{failure:?}");
    for text in [failure.to_string(), format!("{failure:?}"), format!("{sender:?}"), sender.endpoint().to_owned()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(peer.received().len(), 0);
}

#[test]
fn an_unusable_address_is_reported() {
    let failure = send(&mut super::sender(Some("ftp://127.0.0.1/"), None), 1, AMPLE).unwrap_err();
    assert!(matches!(&failure.reason, Reason::Unsupported(_)) && !failure.is_unreachable(), "{failure:?}");
}
