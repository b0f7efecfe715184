//! A build without TLS refuses configurations that need it, and does everything else.

use crate::support::agent::AgentDir;
use crate::support::daemon::DaemonDir;
use crate::support::http::get;

#[test]
fn a_configuration_with_tls_is_refused_with_its_place() {
    let agent_dir = AgentDir::new("");
    for (extra, place, fact) in [
        (
            "heartbeat: { url: 'https://h/' }\n",
            ":3:19",
            "`heartbeat.url` is `https://h/`, and this build does not support TLS",
        ),
        (
            "http: { port: 0, tls: { cert: c.pem, key: k.pem } }\n",
            ":2:31",
            "`http.tls.cert` requires TLS, which this build does not support",
        ),
    ] {
        agent_dir.configure(extra);
        for command in ["validate", "run"] {
            let output = agent_dir.command(&[command, "--config", "agent.yaml"]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{command}: {text}");
            assert!(text.contains(fact) && text.contains(&format!("agent.yaml{place}")), "{command}: {text}");
        }
    }
    let daemon_dir = DaemonDir::new(&[]);
    let check = "{ http_endpoint: 'https://h/', http_tls: { ca: ca.pem } }";
    let yaml = format!("agents:\n  - {{ id: a, binary_path: /bin/true, health_check: {check} }}\n");
    std::fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let output = daemon_dir.command(&["validate", "--config", "daemon.yaml"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && text.contains("daemon.yaml: 2 problems"), "{text}");
}

#[test]
fn plain_http_works_without_the_tls_feature() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    assert_eq!(get(([127, 0, 0, 1], agent.port()).into(), "/health").status, 200);
    assert_eq!(agent.stop(), Some(0));
}
