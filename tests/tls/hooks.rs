//! Webhooks over TLS.

use std::fs;

use crate::support::daemon::DaemonDir;
use crate::support::pki::{Ca, VALID};
use crate::support::tls::Server;

#[test]
fn a_webhook_goes_only_to_a_server_that_its_ca_has_signed() {
    let daemon_dir = DaemonDir::new(&[]);
    let directory = daemon_dir.path();
    Ca::new(directory, "ca").sign("server", &["localhost"], VALID);
    Ca::new(directory, "other");
    let server = Server::start(directory, "server", None);
    let test = |ca: &str| {
        let url = format!("https://localhost:{}/secret", server.address.port());
        let hook = format!("{{ webhook: '{url}', webhook_tls: {{ ca: {ca}.pem }} }}");
        fs::write(directory.join("daemon.yaml"), format!("agents: []\nhooks: [{hook}]\n")).unwrap();
        let output = daemon_dir.ask(&["hook", "test"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = test("ca");
    assert!(code == Some(0) && text.contains("answered 200") && !text.contains("secret"), "{text}");
    let (code, text) = test("other");
    assert!(code == Some(1) && text.contains("not signed by a trusted CA"), "{text}");
}
