//! A reload reads the certificates again, all or none, for new connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use super::{HTTPS, MUTUAL, address, agent_dir};
use crate::support::agent::{AgentDir, wait_until};
use crate::support::daemon::DaemonDir;
use crate::support::pki::{Ca, EXPIRED, VALID};
use crate::support::tls::{Client, ask_on, certificate, shown};

/// A change to the files of an agent.
type Spoil<'a> = Box<dyn Fn(&AgentDir) + 'a>;

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

fn shown_at(client: &Client, address: SocketAddr) -> Vec<u8> {
    shown(&mut client.connect(address, "localhost"))
}

#[test]
fn new_connections_get_the_new_certificate_and_open_ones_continue() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let first = certificate(agent_dir.path(), "server");
    let mut kept = client.connect(address, "localhost");
    assert_eq!(ask_on(&mut kept, "GET", "/livez").unwrap().0, 200);
    assert_eq!(shown(&mut kept), first);

    ca.sign("server", &NAMES, VALID);
    assert_eq!(shown_at(&client, address), first, "no reload has been requested");
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");
    let second = certificate(agent_dir.path(), "server");
    assert_ne!(first, second);
    assert_eq!(shown_at(&client, address), second);
    assert_eq!(ask_on(&mut kept, "GET", "/livez").unwrap().0, 200, "the one that is there goes on");

    ca.sign("server", &NAMES, VALID);
    assert_eq!(client.ask(address, "POST", "/reload").unwrap().0, 200);
    assert_eq!(shown_at(&client, address), certificate(agent_dir.path(), "server"));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_bad_new_certificate_changes_nothing() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let good = certificate(agent_dir.path(), "server");
    let spoil: [(&str, Spoil<'_>); 4] = [
        (
            "whose certificate expired on 2001-01-01T00:00:00Z: renew it",
            Box::new(|_| ca.sign("server", &NAMES, EXPIRED)),
        ),
        (
            "which is not the key of the certificate",
            Box::new(|agent_dir| {
                std::fs::copy(agent_dir.path().join("client.key"), agent_dir.path().join("server.key")).unwrap();
            }),
        ),
        (
            "which contains no certificate",
            Box::new(|agent_dir| std::fs::write(agent_dir.path().join("server.pem"), "").unwrap()),
        ),
        (
            "which cannot be read",
            Box::new(|agent_dir| std::fs::remove_file(agent_dir.path().join("server.pem")).unwrap()),
        ),
    ];
    for (words, spoil) in spoil {
        spoil(&agent_dir);
        let (status, body) = client.ask(address, "POST", "/reload").unwrap();
        assert!(status == 400 && body.contains("CONFIG_ERROR") && body.contains(words), "{status} {body}");
        agent.wait_for_message("configuration not reloaded; nothing was changed");
        assert_eq!(shown_at(&client, address), good, "{words}");
        // Nothing else of the new configuration applies either.
        agent_dir.configure(&format!("log: {{ level: debug }}\n{HTTPS}"));
        assert_eq!(client.ask(address, "POST", "/reload").unwrap().0, 400);
        ca.sign("server", &NAMES, VALID);
    }
    assert_eq!(client.ask(address, "POST", "/reload").unwrap().0, 200);
    assert_eq!(shown_at(&client, address), certificate(agent_dir.path(), "server"));
    assert_eq!(agent.stop(), Some(0));
}

/// A clock that was reset at boot, or a missed renewal, does not prevent a start.
#[test]
fn an_agent_starts_with_an_expired_certificate_and_warns() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    ca.sign("server", &NAMES, EXPIRED);
    let mut agent = agent_dir.start();
    assert!(
        agent
            .seen
            .iter()
            .any(|line| line["level"] == "warn" && line["message"].as_str().unwrap().contains("expired on 2001")),
        "{:#?}",
        agent.seen
    );
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_change_of_certificate_paths_needs_a_restart() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    ca.sign("renamed", &NAMES, VALID);
    let mut agent = agent_dir.start();
    agent_dir.configure(&HTTPS.replace("server.", "renamed."));
    agent.signal(Signal::HUP);
    let line = agent.wait_for_message("configuration not reloaded");
    assert!(line["error"].as_str().unwrap().contains("http.tls.cert: server.pem -> renamed.pem"), "{line}");
}

#[test]
fn a_new_client_ca_applies_from_the_next_connection_on() {
    let (agent_dir, _) = agent_dir(MUTUAL);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let old = Client::new(agent_dir.path(), "ca", Some("client"));
    assert_eq!(old.ask(address, "GET", "/livez").unwrap().0, 200);
    Ca::new(agent_dir.path(), "next").sign("client-of-next", &["client"], VALID);
    let new = Client::new(agent_dir.path(), "ca", Some("client-of-next"));
    assert!(new.ask(address, "GET", "/livez").is_err());
    std::fs::copy(agent_dir.path().join("next.pem"), agent_dir.path().join("ca.pem")).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");
    assert_eq!(new.ask(address, "GET", "/livez").unwrap().0, 200);
    assert!(old.ask(address, "GET", "/livez").is_err());
}

#[test]
fn a_renewal_loses_no_request() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let (requests, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let askers: Vec<_> = (0..3)
        .map(|_| {
            let (client, requests, over) = (client.clone(), Arc::clone(&requests), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.ask(address, "GET", "/livez").expect("no request fails").0, 200);
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..10 {
        ca.sign("server", &NAMES, VALID);
        agent.signal(Signal::HUP);
        agent.wait_for_message("configuration reloaded");
        let before = requests.load(Ordering::Relaxed);
        wait_until("more requests are answered", || requests.load(Ordering::Relaxed) > before);
    }
    over.store(true, Ordering::Relaxed);
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_daemon_reads_its_certificate_again_too() {
    let daemon_dir = DaemonDir::new(&[]);
    let ca = Ca::new(daemon_dir.path(), "ca");
    ca.sign("server", &NAMES, VALID);
    let yaml =
        "daemon: { work_dir: state, http: { port: 0, tls: { cert: server.pem, key: server.key } } }\nagents: []\n";
    std::fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let mut daemon = daemon_dir.start();
    let address = ([127, 0, 0, 1], daemon.port()).into();
    let client = Client::new(daemon_dir.path(), "ca", None);
    let first = shown_at(&client, address);
    ca.sign("server", &NAMES, EXPIRED);
    daemon.signal(Signal::HUP);
    daemon.wait_for("that it did not", |line| {
        line["error"].as_str().is_some_and(|text| text.contains("expired on 2001"))
    });
    assert_eq!(shown_at(&client, address), first);
    ca.sign("server", &NAMES, VALID);
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration applied");
    assert_eq!(shown_at(&client, address), certificate(daemon_dir.path(), "server"));
    assert_eq!(daemon.stop(), Some(0));
}
