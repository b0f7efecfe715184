//! Heartbeats over TLS are delivered, or raise a fault that names the remedy and ends with its cause.

use std::fs;
use std::net::TcpListener;

use test_requirements::requires;

use super::agent_dir;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::get;
use crate::support::peer::Peer;
use crate::support::pki::{Ca, EXPIRED, FUTURE, VALID, self_signed};
use crate::support::tls::Server;

fn reporting(agent_dir: &AgentDir, url: &str, tls: &str) {
    let pace = "interval: 200ms, timeout: 1m, failure_threshold: 1";
    agent_dir.configure(&format!("heartbeat: {{ url: '{url}', {pace}, tls: {{ {tls} }} }}\n"));
}

/// The detail of the fault in the log.
fn lost(agent: &mut Agent) -> String {
    agent.wait_for_message("daemon lost")["error"].as_str().unwrap().to_owned()
}

/// Waits until a heartbeat was acknowledged.
fn delivers(agent: &mut Agent) {
    let address = ([127, 0, 0, 1], agent.port()).into();
    wait_until("a heartbeat is delivered", || !get(address, "/health").json()["last_heartbeat"].is_null());
}

#[test]
fn each_wrong_certificate_of_the_daemon_is_a_distinct_fault_until_it_is_right() {
    let (agent_dir, ca) = agent_dir("");
    ca.sign("late", &["localhost"], EXPIRED);
    ca.sign("early", &["localhost"], FUTURE);
    ca.sign("elsewhere", &["daemon.example", "10.0.0.1"], VALID);
    Ca::new(agent_dir.path(), "other").sign("untrusted", &["localhost"], VALID);
    self_signed(agent_dir.path(), "own", &["localhost"]);
    let server = Server::start(agent_dir.path(), "server", None);
    let url = format!("https://localhost:{}/heartbeat", server.address.port());
    reporting(&agent_dir, &url, "ca: ca.pem");
    let mut agent = agent_dir.start();
    for (shows, words) in [
        ("late", "the daemon's certificate expired on 2001-01-01T00:00:00Z: renew it"),
        ("early", "the daemon's certificate is not valid before 2099-01-01T00:00:00Z: check the clocks of both hosts"),
        (
            "elsewhere",
            "the daemon's certificate is for daemon.example, 10.0.0.1, not for localhost: use one of its names",
        ),
        ("untrusted", "the daemon's certificate is not signed by a trusted CA: set `ca`"),
        ("own", "the daemon's certificate is not signed by a trusted CA: set `ca`"),
    ] {
        server.show(agent_dir.path(), shows, None);
        // A reload without a change keeps the connection. One that changes the address does not.
        reporting(&agent_dir, &format!("{url}?{shows}"), "ca: ca.pem");
        agent.signal(rustix::process::Signal::HUP);
        let detail = lost(&mut agent);
        assert!(detail.contains(words), "{shows}: {detail}");
        assert!(
            detail.starts_with(&format!("no TLS connection to https://localhost:{}/heartbeat", server.address.port())),
            "{detail}"
        );
        agent.wait_for_state("Degraded");
        server.show(agent_dir.path(), "server", None);
        agent.wait_for_message("daemon found again");
        agent.wait_for_state("Running");
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_certificate_with_the_address_as_a_dns_name_is_named_with_the_remedy() {
    let (agent_dir, ca) = agent_dir("");
    ca.sign_with_address_as_name("named", "127.0.0.1");
    let server = Server::start(agent_dir.path(), "named", None);
    reporting(&agent_dir, &format!("https://127.0.0.1:{}/heartbeat", server.address.port()), "ca: ca.pem");
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    let words = "has 127.0.0.1 as a DNS name, not as an address: get one with `IP:127.0.0.1` in its subjectAltName";
    assert!(detail.contains(words), "{detail}");
}

#[requires("openssl")]
#[test]
fn a_certificate_that_is_signed_with_sha_1_is_named_with_the_remedy() {
    let (agent_dir, _) = agent_dir("");
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj /CN=old-ca \
                -keyout old-ca.key -out old-ca.pem && \
                openssl req -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out old.csr && \
                printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n' >old.ext && \
                openssl x509 -req -in old.csr -CA old-ca.pem -CAkey old-ca.key -set_serial 2 -sha1 -days 3650 \
                -extfile old.ext -out old.pem";
    let made = std::process::Command::new("sh").args(["-ec", make]).current_dir(agent_dir.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let server = Server::start(agent_dir.path(), "old", None);
    reporting(&agent_dir, &format!("https://localhost:{}/heartbeat", server.address.port()), "ca: old-ca.pem");
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("is signed in an old way, such as with SHA-1: get one that is signed with"), "{detail}");
}

#[test]
fn the_agent_sends_its_certificate_and_reports_if_the_daemon_rejects_it() {
    let (agent_dir, ca) = agent_dir("");
    ca.sign("late", &["client"], EXPIRED);
    Ca::new(agent_dir.path(), "other").sign("untrusted", &["client"], VALID);
    let server = Server::start(agent_dir.path(), "server", Some("ca"));
    let url = format!("https://127.0.0.1:{}/heartbeat", server.address.port());
    reporting(&agent_dir, &url, "ca: ca.pem");
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("the daemon requires a client certificate: set `cert` and `key`"), "{detail}");
    drop(agent);
    reporting(&agent_dir, &url, "ca: ca.pem, cert: untrusted.pem, key: untrusted.key");
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("the daemon does not trust the CA of this side's certificate"), "{detail}");
    // An expired certificate does not replace a valid one.
    reporting(&agent_dir, &url, "ca: ca.pem, cert: late.pem, key: late.key");
    agent.signal(rustix::process::Signal::HUP);
    let refused = agent.wait_for_message("configuration not reloaded")["error"].as_str().unwrap().to_owned();
    assert!(
        refused.contains("`heartbeat.tls.cert` is `late.pem`, whose certificate expired on 2001-01-01"),
        "{refused}"
    );
    reporting(&agent_dir, &url, "ca: ca.pem, cert: client.pem, key: client.key");
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_message("daemon found again");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_peer_without_tls_is_a_distinct_fault() {
    let (agent_dir, _) = agent_dir("");
    let plain = Peer::http();
    reporting(&agent_dir, &plain.url().replace("http://", "https://"), "ca: ca.pem");
    plain.behave(crate::support::peer::Behaviour::CloseOnAccept);
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("the daemon closed the connection during the TLS handshake"), "{detail}");
    drop(agent);

    // A peer that sends first, and not TLS.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    reporting(&agent_dir, &format!("https://127.0.0.1:{port}/heartbeat"), "ca: ca.pem");
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("the daemon does not use TLS: use `http://`"), "{detail}");
}

#[test]
fn an_endless_handshake_ends_at_the_heartbeat_timeout() {
    let (agent_dir, _) = agent_dir("");
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://127.0.0.1:{}/heartbeat", silent.local_addr().unwrap().port());
    agent_dir.configure(&format!(
        "heartbeat: {{ url: '{url}', interval: 200ms, timeout: 300ms, failure_threshold: 1, tls: {{ ca: ca.pem }} }}\n"
    ));
    let mut agent = agent_dir.start();
    let detail = lost(&mut agent);
    assert!(detail.contains("took longer than 300ms"), "{detail}");
    assert_eq!(agent.stop(), Some(0), "and it does not delay a stop");
}

#[test]
fn the_system_s_cas_are_trusted_if_none_is_configured() {
    let (agent_dir, _) = agent_dir("");
    let server = Server::start(agent_dir.path(), "server", None);
    let url = format!("https://localhost:{}/heartbeat", server.address.port());
    reporting(&agent_dir, &url, "");
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("SSL_CERT_FILE", agent_dir.path().join("ca.pem"));
    let mut agent = Agent::spawn(command);
    delivers(&mut agent);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn changed_ca_and_certificate_files_are_read_again_at_a_reload() {
    let (agent_dir, ca) = agent_dir("");
    let copy = |from: &str, to: &str| fs::copy(agent_dir.path().join(from), agent_dir.path().join(to)).unwrap();
    Ca::new(agent_dir.path(), "other").sign("untrusted", &["client"], VALID);
    copy("ca.pem", "trust.pem");
    ca.sign("shown", &["client"], VALID);
    let server = Server::start(agent_dir.path(), "server", Some("ca"));
    let url = format!("https://localhost:{}/heartbeat", server.address.port());
    reporting(&agent_dir, &url, "ca: trust.pem, cert: shown.pem, key: shown.key");
    let mut agent = agent_dir.start();
    delivers(&mut agent);
    for (spoil, mend, words) in [
        (
            &[("other.pem", "trust.pem")][..],
            &[("ca.pem", "trust.pem")][..],
            "the daemon's certificate is not signed by a trusted CA",
        ),
        (
            &[("untrusted.pem", "shown.pem"), ("untrusted.key", "shown.key")],
            &[("client.pem", "shown.pem"), ("client.key", "shown.key")],
            "the daemon does not trust the CA of this side's certificate",
        ),
    ] {
        for (from, to) in spoil {
            copy(from, to);
        }
        agent.signal(rustix::process::Signal::HUP);
        let detail = lost(&mut agent);
        assert!(detail.contains(words), "{detail}");
        for (from, to) in mend {
            copy(from, to);
        }
        agent.signal(rustix::process::Signal::HUP);
        agent.wait_for_message("daemon found again");
    }
    assert_eq!(agent.stop(), Some(0));
}
