//! `validate`, a start and a reload report a bad TLS file at the place where the configuration names it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{HTTPS, MUTUAL, agent_dir};
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::DaemonDir;
use crate::support::pki::{Ca, EXPIRED, FUTURE};

/// The exit code of `validate`, and its errors or else its output.
fn validated(agent_dir: &AgentDir) -> (Option<i32>, String) {
    let output = agent_dir.command(&["validate", "--config", "agent.yaml"]).output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn write(agent_dir: &AgentDir, name: &str, text: &str) {
    fs::write(agent_dir.path().join(name), text).unwrap();
}

#[test]
fn each_bad_tls_file_is_named_with_its_place_and_never_printed() {
    let (agent_dir, ca) = agent_dir("");
    ca.sign("other", &["localhost"], (2000, 2100));
    let key = fs::read_to_string(agent_dir.path().join("server.key")).unwrap();
    write(&agent_dir, "empty", "");
    write(&agent_dir, "cut.key", &key[..key.len() - 40]);
    write(&agent_dir, "odd.key", &key.replace("MIG", "!!!"));
    write(&agent_dir, "locked.key", &key.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    let of_openssl = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                      -----END RSA PRIVATE KEY-----\n";
    write(&agent_dir, "old.key", of_openssl);
    let pem = |name: &str| fs::read_to_string(agent_dir.path().join(name)).unwrap();
    write(&agent_dir, "turned.pem", &(pem("ca.pem") + &pem("server.pem")));
    write(&agent_dir, "junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (cert, key, ca, place, fact) in [
        (
            "none.pem",
            "server.key",
            "ca.pem",
            ":6:11",
            "`http.tls.cert` is `none.pem`, which cannot be read: No such file",
        ),
        (".", "server.key", "ca.pem", ":6:11", "`http.tls.cert` is `.`, a directory"),
        ("empty", "server.key", "ca.pem", ":6:11", "which contains no certificate in PEM format"),
        ("server.key", "server.key", "ca.pem", ":6:11", "which contains a key but no certificate"),
        ("junk.pem", "server.key", "ca.pem", ":6:11", "`http.tls.cert` is `junk.pem`, whose certificate is not valid"),
        ("server.pem", "server.pem", "ca.pem", ":7:10", "`http.tls.key` is `server.pem`, which contains no key"),
        ("server.pem", "other.key", "ca.pem", ":7:10", "which is not the key of the certificate in `server.pem`"),
        ("server.pem", "cut.key", "ca.pem", ":7:10", "a section has no end"),
        ("server.pem", "odd.key", "ca.pem", ":7:10", "which is damaged"),
        ("server.pem", "locked.key", "ca.pem", ":7:10", "whose key has a password"),
        ("server.pem", "old.key", "ca.pem", ":7:10", "whose key has a password"),
        ("turned.pem", "server.key", "ca.pem", ":6:11", "whose certificate 2, and not its first, is that of the key"),
        ("server.pem", "server.key", "junk.pem", ":8:16", "whose certificate 1 is not valid"),
        ("server.pem", "server.key", "/dev/zero", ":8:16", "which is not a regular file"),
    ] {
        let tls = format!("    cert: {cert}\n    key: {key}\n    client_ca: {ca}\n");
        agent_dir.configure(&format!("log: {{ level: info }}\nhttp:\n  port: 0\n  tls:\n{tls}"));
        let (code, text) = validated(&agent_dir);
        assert_eq!(code, Some(78), "{cert} {key} {ca}: {text}");
        assert!(text.contains(fact) && text.contains(&format!("agent.yaml{place}")), "{cert} {key} {ca}: {text}");
        assert!(!text.contains("MIG") && !text.contains("BEGIN PRIVATE KEY-----\n"), "a key is shown: {text}");
        let run = agent_dir.command(&["run", "--config", "agent.yaml"]).output().unwrap();
        assert_eq!((run.status.code(), String::from_utf8(run.stderr).unwrap()), (code, text), "run says the same");
    }
}

#[test]
fn an_unusual_certificate_is_a_warning() {
    let (agent_dir, ca) = agent_dir(HTTPS);
    let note = |what: &str| {
        let (code, text) = validated(&agent_dir);
        assert!(code == Some(0) && text.contains(what) && text.contains("agent.yaml:2:"), "{what}: {text}");
    };
    ca.sign("server", &["localhost"], EXPIRED);
    note(
        "note: agent.yaml:2:31: `http.tls.cert` is `server.pem`, whose certificate expired on 2001-01-01T00:00:00Z: renew it",
    );
    ca.sign("server", &["localhost"], FUTURE);
    note("is not valid before 2099-01-01T00:00:00Z: correct this host's clock, or wait");
    ca.sign("server", &[], (2000, 2100));
    note("whose certificate has no subjectAltName");
    ca.sign("server", &["localhost"], (2000, 2100));
    let pem = fs::read_to_string(agent_dir.path().join("server.pem")).unwrap();
    write(&agent_dir, "server.pem", &format!("\u{feff}{pem}"));
    assert_eq!(validated(&agent_dir), (Some(0), "OK - agent.yaml is valid, for agent tested\n".to_owned()));
    fs::set_permissions(agent_dir.path().join("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
    note("which all users of this host can read: run `chmod o-rwx,g-w`");
    fs::set_permissions(agent_dir.path().join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(validated(&agent_dir), (Some(0), "OK - agent.yaml is valid, for agent tested\n".to_owned()));
}

const OPEN: [(&str, u32, &str); 6] = [
    ("server.pem", 0o646, "which others can write: run `chmod go-w` on it, and replace it"),
    ("server.pem", 0o664, "which others can write: run `chmod go-w` on it, and replace it"),
    ("ca.pem", 0o666, "which others can write: run `chmod go-w` on it, and replace it"),
    ("server.key", 0o602, "which others can write: run `chmod o-rwx,g-w` on it, and replace the key"),
    ("server.key", 0o620, "which others can write: run `chmod o-rwx,g-w` on it, and replace the key"),
    ("server.key", 0o604, "which all users of this host can read: run `chmod o-rwx,g-w` on it, and replace the key"),
];

#[test]
fn a_tls_file_that_others_can_change_or_a_key_that_they_can_read_is_a_note() {
    let (agent_dir, _) = agent_dir(MUTUAL);
    let daemon_dir = DaemonDir::new(&[]);
    let here = agent_dir.path().display();
    let tls = format!("tls: {{ cert: {here}/server.pem, key: {here}/server.key, client_ca: {here}/ca.pem }}");
    let yaml = format!("daemon: {{ work_dir: state, http: {{ port: 0, {tls} }} }}\nagents: []\n");
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let notes = || {
        let daemon = daemon_dir.command(&["validate", "--config", "daemon.yaml"]).output().unwrap();
        assert_eq!(daemon.status.code(), Some(0), "{daemon:?}");
        let (code, text) = validated(&agent_dir);
        assert_eq!(code, Some(0), "{text}");
        let note = |text: String| text.lines().filter(|line| line.contains(".tls.")).map(str::to_owned).collect();
        let (of_agent, of_daemon): (Vec<_>, Vec<_>) = (note(text), note(String::from_utf8(daemon.stdout).unwrap()));
        (of_agent, of_daemon)
    };
    let set = |file: &str, mode: u32| {
        fs::set_permissions(agent_dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (file, mode, fact) in OPEN {
        let usual = if file.ends_with("key") { 0o640 } else { 0o644 };
        set(file, mode);
        let (of_agent, of_daemon) = notes();
        assert!(of_agent.len() == 1 && of_agent[0].contains(&format!("is `{file}`, {fact}")), "{mode:o}: {of_agent:?}");
        let named = format!("is `{here}/{file}`, {fact}");
        assert!(of_daemon.len() == 1 && of_daemon[0].contains(&named), "{mode:o}: {of_daemon:?}");
        set(file, usual);
        assert_eq!(notes(), (Vec::new(), Vec::new()), "{file}");
    }
    set("ca.pem", 0o666);
    let daemon = Agent::spawn(daemon_dir.command(&["run", "--config", "daemon.yaml"]));
    for mut program in [agent_dir.spawn(), daemon] {
        program.wait_for("a warning", |line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "warn" && message.contains("ca.pem`, which others can write")
        });
        assert_eq!(program.stop(), Some(0));
    }
}

#[test]
fn without_system_cas_https_needs_a_configured_ca() {
    let agent_dir = AgentDir::new("heartbeat: { url: 'https://localhost:1/' }\n");
    let mut validate = agent_dir.command(&["validate", "--config", "agent.yaml"]);
    let empty = agent_dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let nothing = agent_dir.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let output = validate.env("SSL_CERT_FILE", &empty).env("SSL_CERT_DIR", &nothing).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && text.contains("agent.yaml:3:19"), "{text}");
    assert!(text.contains("requires the system's CAs, and the system has none"), "{text}");
    // A configured CA is named.
    let mut validate = agent_dir.command(&["validate", "--config", "agent.yaml"]);
    let output = validate.env("SSL_CERT_FILE", agent_dir.path().join("gone")).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && text.contains("gone` cannot be read: No such file"), "{text}");
    assert!(text.contains("correct it, or SSL_CERT_FILE and SSL_CERT_DIR, or set `ca`"), "{text}");
}

#[test]
fn errors_in_the_daemon_s_tls_files_name_their_place() {
    let daemon_dir = DaemonDir::new(&[]);
    Ca::new(daemon_dir.path(), "ca");
    let agent = |id: &str, tls: &str| {
        let check = format!("health_check: {{ http_endpoint: 'https://localhost:1/', http_tls: {{ {tls} }} }}");
        format!("  - {{ id: {id}, binary_path: /bin/true, {check} }}\n")
    };
    let yaml = "daemon: { http: { tls: { cert: none.pem, key: none.key } } }\nagents:\n".to_owned()
        + &agent("a", "ca: ca.pem")
        + &agent("b", "ca: missing.pem")
        + &agent("c", "ca: ca.pem, cert: c.pem")
        + "  - { id: d, binary_path: /bin/true, health_check: { http_endpoint: 'http://h/', http_tls: { ca: ca.pem } } }\n";
    let problems_of = |yaml: &str| {
        fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
        let output = daemon_dir.command(&["validate", "--config", "daemon.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = problems_of(&yaml);
    assert!(
        text.contains("`agents[2].health_check.http_tls.cert` is set without `health_check.http_tls.key`"),
        "{text}"
    );
    assert!(
        text.contains("`agents[3].health_check.http_tls.ca` is set, but the HTTP check does not use TLS"),
        "{text}"
    );
    // The files are read only if the configuration itself is valid.
    let right = yaml.replace(", cert: c.pem", "").replace("'http://h/'", "'https://h/'");
    let text = problems_of(&right);
    for part in [
        "`daemon.http.tls.cert` is `none.pem`, which cannot",
        "daemon.yaml:1:32",
        "daemon.yaml:1:47",
        "`missing.pem`, which cannot be read",
        "daemon.yaml:4:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
