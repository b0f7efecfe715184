//! The daemon and TLS: it checks agents over HTTPS, separates their faults from its own, and serves HTTPS.

use std::fs;
use std::time::Duration;

use ops_agent::testing::daemon::checks::HttpCheck;
use ops_agent::testing::daemon::checks::HttpCheckResult;
use ops_config::{Overrides, load_daemon};
use serde_json::Value;

use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::peer::hold_port;
use crate::support::pki::{Ca, EXPIRED, FUTURE, VALID};
use crate::support::tls::{Client, Server};

/// The result of the HTTP check for a server with this certificate.
fn ask(daemon_dir: &DaemonDir, server: &Server, tls: &str) -> HttpCheckResult {
    let url = format!("https://localhost:{}/livez", server.address.port());
    let check = format!("health_check: {{ http_endpoint: '{url}', http_tls: {{ {tls} }} }}");
    let file = daemon_dir.path().join("check.yaml");
    fs::write(&file, format!("agents:\n  - {{ id: a, binary_path: /bin/true, {check} }}\n")).unwrap();
    let loaded = load_daemon(Some(&file), &Overrides::none()).unwrap();
    let client = loaded.tls.client(loaded.config.agents[0].secure().unwrap()).cloned();
    let check = HttpCheck::new(&url, Duration::from_secs(5), client).unwrap();
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(check.check()))
}

#[test]
fn an_agents_certificate_is_its_own_fault_and_the_daemons_is_not() {
    let daemon_dir = DaemonDir::new(&[]);
    let directory = daemon_dir.path().to_owned();
    let ca = Ca::new(&directory, "ca");
    ca.sign("server", &["localhost"], VALID);
    ca.sign("late", &["localhost"], EXPIRED);
    ca.sign("client", &["daemon"], VALID);
    Ca::new(&directory, "other").sign("untrusted", &["daemon"], VALID);
    let path = |name: &str| directory.join(name).display().to_string();
    let trust = format!("ca: {}", path("ca.pem"));
    let shows =
        |name: &str| format!("{trust}, cert: {}, key: {}", path(&format!("{name}.pem")), path(&format!("{name}.key")));
    let failed = |probe: HttpCheckResult, words: &str| {
        assert!(matches!(&probe, HttpCheckResult::Failed(why) if why.contains(words)), "{probe:?}")
    };
    let own = |probe: HttpCheckResult, words: &str| {
        assert!(matches!(&probe, HttpCheckResult::NotTried(why) if why.contains(words)), "{probe:?}")
    };

    let server = Server::start(&directory, "server", None);
    assert_eq!(ask(&daemon_dir, &server, &trust), HttpCheckResult::Answered);
    failed(ask(&daemon_dir, &server, &format!("ca: {}", path("other.pem"))), "not signed by a trusted CA");
    server.show(&directory, "late", None);
    failed(ask(&daemon_dir, &server, &trust), "the agent's certificate expired on 2001-01-01T00:00:00Z");
    ca.sign("early", &["localhost"], FUTURE);
    server.show(&directory, "early", None);
    own(ask(&daemon_dir, &server, &trust), "not valid before 2099-01-01T00:00:00Z: check the clocks of both hosts");
    server.show(&directory, "server", Some("ca"));
    own(ask(&daemon_dir, &server, &trust), "the agent requires a client certificate");
    own(ask(&daemon_dir, &server, &shows("untrusted")), "the agent does not trust the CA of this side's certificate");
    assert_eq!(ask(&daemon_dir, &server, &shows("client")), HttpCheckResult::Answered);
}

#[test]
fn a_changed_ca_file_is_read_again_at_a_reload_by_the_check() {
    let daemon_dir = DaemonDir::new(&[]);
    Ca::new(daemon_dir.path(), "ca").sign("server", &["localhost"], VALID);
    Ca::new(daemon_dir.path(), "other");
    let trust = |name: &str| fs::copy(daemon_dir.path().join(name), daemon_dir.path().join("trust.pem")).unwrap();
    trust("ca.pem");
    let server = Server::start(daemon_dir.path(), "server", None);
    let tls = format!("http_endpoint: 'https://localhost:{}/', http_tls: {{ ca: trust.pem }}", server.address.port());
    let checks = format!("interval: 200ms, heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0, {tls}");
    let agent = "id: a, binary_path: /bin/sleep, args: ['1000'], restart: { policy: never }";
    let yaml = format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents:\n  - {{ {agent}, health_check: {{ {checks} }} }}\n"
    );
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let daemon = daemon_dir.start();
    let http = |agent: &Value, verdict: &str, detail: &str| {
        agent["signals"].as_array().is_some_and(|signals| {
            signals.iter().any(|it| {
                it["check"] == "http"
                    && it["verdict"] == verdict
                    && it["detail"].as_str().unwrap_or_default().contains(detail)
            })
        })
    };
    daemon_dir.wait_for("a", "answers over TLS", |agent| http(agent, "ok", ""));
    let first = daemon_dir.pid("a");
    trust("other.pem");
    daemon.signal(rustix::process::Signal::HUP);
    daemon_dir.wait_for("a", "is not trusted", |agent| http(agent, "bad", "not signed by a trusted CA"));
    trust("ca.pem");
    daemon.signal(rustix::process::Signal::HUP);
    daemon_dir.wait_for("a", "is trusted again", |agent| http(agent, "ok", ""));
    assert_eq!(daemon_dir.pid("a"), first, "a file that says something else is no reason for a restart");
}

#[test]
fn daemon_and_agent_use_tls_in_both_directions() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("a")]);
    let ca = Ca::new(daemon_dir.path(), "ca");
    ca.sign("daemon", &["localhost"], VALID);
    ca.sign("agent", &["localhost"], VALID);
    let path = |name: &str| daemon_dir.path().join(name).display().to_string();
    let own = |name: &str| format!("cert: {}, key: {}", path(&format!("{name}.pem")), path(&format!("{name}.key")));

    // The daemon needs the agent's port before the agent runs.
    let (_held, at) = hold_port();
    let port = at.port();
    let yaml = fs::read_to_string(daemon_dir.path().join("daemon.yaml")).unwrap();
    let yaml = yaml
        .replace("port: 0", &format!("port: 0, tls: {{ {}, client_ca: {} }}", own("daemon"), path("ca.pem")))
        .replace(
            "heartbeat_timeout: 10m",
            &format!(
                "heartbeat_timeout: 10m, http_endpoint: 'https://localhost:{port}/livez', http_tls: {{ ca: {}, {} }}",
                path("ca.pem"),
                own("daemon")
            ),
        );
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let agent = |daemon: u16| {
        let http = format!("http: {{ port: {port}, tls: {{ {}, client_ca: {} }} }}", own("agent"), path("ca.pem"));
        let tls = format!("tls: {{ ca: {}, {} }}", path("ca.pem"), own("agent"));
        let heartbeat = format!("heartbeat: {{ url: 'https://localhost:{daemon}/heartbeat', interval: 200ms, {tls} }}");
        fs::write(daemon_dir.path().join("a.yaml"), format!("agent_id: a\n{http}\n{heartbeat}\n")).unwrap();
    };
    agent(1);
    let mut daemon = daemon_dir.start();
    let listening = daemon.seen.iter().find(|line| line["message"] == "listening").unwrap().clone();
    assert_eq!(listening["scheme"], "https");
    let at = daemon.port();
    agent(at);
    crate::support::daemon::signal(daemon_dir.wait_for_state("a", "running").unwrap(), rustix::process::Signal::HUP);
    daemon_dir.wait_for("a", "sends heartbeats over TLS", |agent| agent["heartbeats"].as_u64() > Some(0));
    let answers = |agent: &Value| {
        agent["signals"]
            .as_array()
            .is_some_and(|signals| signals.iter().any(|it| it["check"] == "http" && it["verdict"] == "ok"))
    };
    daemon_dir.wait_for("a", "answers over TLS", answers);

    // Service discovery says `https`, and commands need no more than the certificate.
    let client = Client::new(daemon_dir.path(), "ca", Some("agent"));
    let address = ([127, 0, 0, 1], at).into();
    let (status, body) = client.ask(address, "GET", "/sd").unwrap();
    assert!(status == 200 && body.contains("\"__scheme__\":\"https\""), "{status} {body}");
    let (status, body) = client.ask(address, "GET", "/").unwrap();
    assert!(status == 200 && body.contains("<html"), "{status} {body}");
    assert!(Client::new(daemon_dir.path(), "ca", None).ask(address, "GET", "/agents").is_err());
    let (status, _) = client.ask(address, "POST", "/agents/a/stop").unwrap();
    assert_eq!(status, 202);
    daemon_dir.wait_for_state("a", "stopped");
}
