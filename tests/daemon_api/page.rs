//! The page, as a real browser renders it.

use std::process::Command;

use statemachine::supervision::{Input, Reason, ReasonCode};
use test_requirements::requires;

use super::heartbeat;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{exchange, get};

/// The page's elements after its script has run.
fn rendered(api: &DaemonApi, fragment: &str) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=9000", "--dump-dom"])
        .arg(format!("http://{}/{fragment}", api.http))
        .output()
        .expect("chromium starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[requires("chromium")]
#[test]
fn the_page_shows_each_agent_and_its_problem() {
    let api = DaemonApi::start(3);
    let body = heartbeat("agent-0", 1000, 1);
    exchange(api.http, format!("POST /heartbeat HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    api.with_control(|control| control.end(2));
    let page = rendered(&api, "");
    for agent in ["agent-0", "agent-1", "agent-2"] {
        assert!(page.contains(&format!("data-agent=\"{agent}\"")), "{agent} in {page}");
    }
    assert!(page.contains("data-state=\"running\"") && page.contains("up to date"), "{page}");
    assert!(page.contains("1 of 3 agents are well"), "{page}");
}

#[requires("chromium")]
#[test]
fn a_refused_reload_is_on_the_page_with_its_reason() {
    let api = DaemonApi::start(1);
    let reason = "d:1:1: `agnets` is not a key";
    api.with_control(move |control| control.refuse_reload(reason));
    let page = rendered(&api, "");
    assert!(page.contains(reason), "{page}");
}

#[requires("chromium")]
#[test]
fn an_opened_agent_shows_its_five_checks_and_markup_is_escaped() {
    let api = DaemonApi::start(2);
    api.with_control(|control| {
        control.tell(1, Input::StopRequested(Reason::new(ReasonCode::StopCommand, "<img id=evil src=x>")))
    });
    let page = rendered(&api, "#agent-1");
    let (closed, open) = page.split_once("data-agent=\"agent-1\"").expect("both agents, in order");
    for signal in ["process", "heartbeat", "http", "status file", "resources"] {
        assert!(open.contains(&format!("<td>{signal}</td>")), "{signal} in {page}");
        assert!(!closed.contains(&format!("<td>{signal}</td>")), "{signal} of the one that is closed");
    }
    assert!(page.contains("&lt;img id=evil") && !page.contains("<img"), "{page}");
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_may_not_be_framed() {
    let api = DaemonApi::start(0);
    let page = get(api.http, "/");
    let policy = page.header("content-security-policy").expect("a policy");
    for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{rule} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}
