//! The page, as a real browser renders it.

use std::process::Command;

use statemachine::supervision::Input;
use test_requirements::requires;

use super::beat;
use crate::support::faces::Faces;
use crate::support::http::{exchange, get};

/// The page's elements after its script has run.
fn rendered(faces: &Faces, fragment: &str) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=9000", "--dump-dom"])
        .arg(format!("http://{}/{fragment}", faces.http))
        .output()
        .expect("chromium starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[requires("chromium")]
#[test]
fn it_shows_every_agent_and_what_is_wrong_with_it() {
    let faces = Faces::start(3);
    let body = beat("agent-0", 1000, 1);
    exchange(
        faces.http,
        format!("POST /heartbeat HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
    );
    faces.at_the_desk(|control| control.end(2));
    let page = rendered(&faces, "");
    for agent in ["agent-0", "agent-1", "agent-2"] {
        assert!(page.contains(&format!("data-agent=\"{agent}\"")), "{agent} in {page}");
    }
    assert!(page.contains("data-state=\"running\"") && page.contains("up to date"), "{page}");
    assert!(page.contains("1 of 3 agents are well"), "{page}");
}

#[requires("chromium")]
#[test]
fn an_agent_that_is_opened_shows_its_five_signals_and_what_it_wrote_stays_text() {
    let faces = Faces::start(2);
    faces.at_the_desk(|control| control.tell(1, Input::StopRequested("<img id=evil src=x>".to_owned())));
    let page = rendered(&faces, "#agent-1");
    let (closed, open) = page.split_once("data-agent=\"agent-1\"").expect("both agents, in order");
    for signal in ["process", "heartbeat", "http", "status file", "resources"] {
        assert!(open.contains(&format!("<td>{signal}</td>")), "{signal} in {page}");
        assert!(!closed.contains(&format!("<td>{signal}</td>")), "{signal} of the one that is closed");
    }
    assert!(page.contains("&lt;img id=evil") && !page.contains("<img"), "{page}");
}

#[test]
fn it_needs_nothing_from_elsewhere_and_may_not_be_framed() {
    let faces = Faces::start(0);
    let page = get(faces.http, "/");
    let policy = page.header("content-security-policy").expect("a policy");
    for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{rule} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}
