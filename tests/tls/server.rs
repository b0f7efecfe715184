//! The agent's API over TLS, from a client's view.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use test_requirements::requires;

use super::{HTTPS, MUTUAL, address, agent_dir, handshake_failure};
use crate::support::http::{Wire, exchange};
use crate::support::pki::{Ca, EXPIRED, VALID, self_signed};
use crate::support::tls::Client;

#[test]
fn the_api_serves_https_and_log_file_and_status_show_it() {
    let (agent_dir, _) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let listening = agent.seen.iter().find(|line| line["message"] == "listening").unwrap();
    assert_eq!(
        (&listening["scheme"], &listening["certificate_until"]),
        (&"https".into(), &"2100-01-01T00:00:00Z".into())
    );
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let (status, body) = client.ask(address, "GET", "/health").unwrap();
    assert!(status == 200 && body.contains("\"agent_id\":\"tested\""), "{status} {body}");
    let (status, body) = client.ask(address, "GET", "/metrics").unwrap();
    assert!(status == 200 && body.contains("\"state\":\"running\""), "{status} {body}");
    let status = agent_dir.command(&["status", "--state-file", "state/tested.ron"]).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(&format!("https://{address}")), "{status}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn plain_http_gets_a_hint_to_use_https_and_is_logged_once() {
    let (agent_dir, _) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let begun = Instant::now();
    for _ in 0..3 {
        let reply = exchange(address, "GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
        assert_eq!((reply.status, reply.code().as_str()), (400, "INVALID_REQUEST"));
        assert!(reply.json()["error"].as_str().unwrap().contains("https://"), "{reply:?}");
    }
    // Lines about the same error are at least ten seconds apart.
    let most = 1 + begun.elapsed().as_secs() / 10;
    assert_eq!(handshake_failure(&mut agent), "the client uses plain HTTP on an HTTPS port: use `https://` there");
    assert_eq!(agent.stop(), Some(0));
    let failures =
        agent.rest_of_the_log().iter().filter(|line| line["message"] == "TLS handshake with a client failed");
    assert!(failures.count() as u64 <= most, "the log lines are limited");
}

#[test]
fn one_kind_of_tls_error_does_not_suppress_another_in_the_log() {
    let (agent_dir, ca) = agent_dir(MUTUAL);
    ca.sign("late", &["client"], EXPIRED);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    assert_eq!(exchange(address, "GET /livez HTTP/1.1\r\nhost: agent\r\n\r\n").status, 400);
    assert_eq!(handshake_failure(&mut agent), "the client uses plain HTTP on an HTTPS port: use `https://` there");
    assert!(Client::new(agent_dir.path(), "ca", Some("late")).ask(address, "GET", "/livez").is_err());
    assert_eq!(handshake_failure(&mut agent), "the client's certificate expired on 2001-01-01T00:00:00Z: renew it");
    assert!(Client::new(agent_dir.path(), "ca", None).ask(address, "GET", "/livez").is_err());
    assert!(handshake_failure(&mut agent).starts_with("the client sent no certificate"));
}

#[test]
fn a_request_that_looks_like_tls_inside_tls_is_not_answered_as_plain_http() {
    let (agent_dir, _) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let mut wire = Client::new(agent_dir.path(), "ca", None).connect(address(&mut agent), "localhost");
    wire.write_all(b"\x16\x03\x01 /health HTTP/1.1\r\nhost: agent\r\n\r\n").unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this is not a valid HTTP/1.1 request"), "{answer}");
    assert_eq!(agent.stop(), Some(0));
    let log = agent.rest_of_the_log();
    assert!(!log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("http://"))), "{log:#?}");
}

#[test]
fn tls_on_a_plain_port_is_recognized_and_logged() {
    let (agent_dir, _) = agent_dir("");
    let mut agent = agent_dir.start();
    let hello = Client::new(agent_dir.path(), "ca", None).hello("localhost");
    let reply = exchange(address(&mut agent), hello);
    assert!(reply.status == 400 && reply.json()["error"].as_str().unwrap().contains("http://"), "{reply:?}");
    agent.wait_for_message("a client uses TLS on a plain HTTP port");
}

#[test]
fn a_client_without_a_valid_certificate_is_rejected_before_any_answer() {
    let (agent_dir, ca) = agent_dir(MUTUAL);
    ca.sign("late", &["client"], EXPIRED);
    Ca::new(agent_dir.path(), "other").sign("untrusted", &["client"], VALID);
    self_signed(agent_dir.path(), "own", &["client"]);
    for (shows, alert, line) in [
        (
            None,
            "CertificateRequired",
            "the client sent no certificate: give it one that is signed by a CA in `client_ca`",
        ),
        (Some("late"), "CertificateExpired", "the client's certificate expired on 2001-01-01T00:00:00Z: renew it"),
        (Some("untrusted"), "UnknownCA", "the client's certificate is not signed by a CA in `client_ca`"),
        (Some("own"), "UnknownCA", "the client's certificate is not signed by a CA in `client_ca`"),
    ] {
        // One agent per case: the last two are the same error, which is logged once in ten seconds.
        let mut agent = agent_dir.start();
        let refused =
            Client::new(agent_dir.path(), "ca", shows).ask(address(&mut agent), "GET", "/health").unwrap_err();
        assert!(refused.to_string().contains(alert), "{shows:?}: {refused}");
        assert_eq!(handshake_failure(&mut agent), line, "{shows:?}");
        let (status, _) =
            Client::new(agent_dir.path(), "ca", Some("client")).ask(address(&mut agent), "GET", "/livez").unwrap();
        assert_eq!(status, 200, "and the others are served");
    }
}

#[test]
fn a_client_that_does_not_trust_the_agent_is_logged() {
    let (agent_dir, _) = agent_dir(HTTPS);
    Ca::new(agent_dir.path(), "other");
    let mut agent = agent_dir.start();
    assert!(Client::new(agent_dir.path(), "other", None).ask(address(&mut agent), "GET", "/health").is_err());
    let line = handshake_failure(&mut agent);
    assert!(line.starts_with("the client does not trust the CA of this side's certificate"), "{line}");
}

#[test]
fn a_client_certificate_replaces_the_token_for_reloads_beyond_loopback() {
    let (agent_dir, _) = agent_dir(&MUTUAL.replace("port: 0", "host: '0.0.0.0', port: 0"));
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    assert!(Client::new(agent_dir.path(), "ca", None).ask(address, "POST", "/reload").is_err());
    let (status, body) = Client::new(agent_dir.path(), "ca", Some("client")).ask(address, "POST", "/reload").unwrap();
    assert_eq!(status, 200, "{body}");
    // Without a client CA, other hosts need a token.
    agent_dir.configure(&HTTPS.replace("port: 0", "host: '0.0.0.0', port: 0"));
    let warned = agent_dir.command(&["validate", "--config", "agent.yaml"]).output().unwrap();
    let text = String::from_utf8(warned.stdout).unwrap();
    assert!(warned.status.success() && text.contains("http.tls.client_ca"), "{text}");
}

#[requires("curl")]
#[test]
fn curl_agrees_with_the_agent_on_tls_1_2_and_1_3() {
    let (agent_dir, _) = agent_dir(MUTUAL);
    let mut agent = agent_dir.start();
    let url = format!("https://localhost:{}/health", agent.port());
    let own = ["--cert", "client.pem", "--key", "client.key"];
    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        let ask = ["-sS", "--fail", "--noproxy", "*", "--cacert", "ca.pem"].iter().chain(&version).chain(&own);
        let mut curl = std::process::Command::new("curl");
        let output = curl.args(ask).arg(&url).current_dir(agent_dir.path()).output().unwrap();
        assert!(output.status.success(), "{version:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"tested\""), "{output:?}");
    }
}

#[requires("openssl")]
#[test]
fn openssl_verifies_the_agent_s_certificate_and_host_name() {
    let (agent_dir, _) = agent_dir(MUTUAL);
    let mut agent = agent_dir.start();
    let to = format!("127.0.0.1:{}", agent.port());
    let mut openssl = std::process::Command::new("openssl");
    let arguments = ["s_client", "-connect", &to, "-CAfile", "ca.pem", "-cert", "client.pem", "-key", "client.key"];
    let openssl = openssl.args(arguments).args(["-verify_return_error", "-verify_hostname", "localhost", "-brief"]);
    let output = openssl.current_dir(agent_dir.path()).stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("Verification: OK"), "{text}");
}

/// Plain bytes on a TLS port are limited too.
#[test]
fn garbage_closes_the_connection_and_is_logged() {
    let (agent_dir, _) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let mut wire = Wire::to(address(&mut agent));
    wire.send([0x80, 0x2e, 0x01, 0x00, 0x02]);
    wire.finish();
    assert_eq!(wire.rest(), "");
    assert_eq!(handshake_failure(&mut agent), "the client does not use TLS");
}
