//! `depends_on`, `hold` and `signal` with real processes.

use std::fs;
use std::path::PathBuf;

use super::setup::{causes, configure, running, stand_in};
use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;

/// A program that writes its name to `order` when it starts and when it is asked to end.
fn recorder(site: &DaemonDir, id: &str, more: &str) -> String {
    let order = order(site);
    let script = format!(
        "echo '+{id}' >>{0}\ntrap \"echo '-{id}' >>{0}; exit 0\" TERM\n: > ready\nwhile :; do sleep 0.1; done",
        order.display()
    );
    stand_in(site, id, &script, &format!("{more}, health_check: {{ heartbeat_timeout: 0 }}"))
}

fn order(site: &DaemonDir) -> PathBuf {
    site.path().join("order")
}

fn lines(site: &DaemonDir) -> Vec<String> {
    fs::read_to_string(order(site)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// `web` depends on `api`, and `api` on `db`, written in the wrong order.
fn chain() -> DaemonDir {
    let site = DaemonDir::new(&[]);
    let entries = [
        recorder(&site, "web", ", depends_on: [api]"),
        recorder(&site, "api", ", depends_on: [db]"),
        recorder(&site, "db", ""),
    ];
    configure(&site, 0, &entries);
    site
}

fn wait_until_ready(site: &DaemonDir) {
    running(site, &["db", "api", "web"]);
    for id in ["db", "api", "web"] {
        let ready = site.path().join("state/agents").join(id).join("ready");
        wait_until("the script is ready", || ready.exists());
    }
}

fn ask(site: &DaemonDir, args: &[&str]) -> (Option<i32>, String) {
    let output = site.ask(args);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn agents_start_in_order_and_are_stopped_in_reverse_order() {
    let site = chain();
    let mut daemon = site.start();
    wait_until_ready(&site);
    assert_eq!(lines(&site), ["+db", "+api", "+web"]);
    let (code, text) = ask(&site, &["stop", "db"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("api, web") && text.contains("--with-dependents"), "{text}");
    assert_eq!(lines(&site).len(), 3, "nothing was stopped");
    let (code, text) = ask(&site, &["stop", "--with-dependents", "db"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(lines(&site)[3..], ["-web", "-api", "-db"]);
    let (code, text) = ask(&site, &["start", "web"]);
    assert_eq!(code, Some(0), "{text}");
    wait_until("all have started", || lines(&site).len() == 9);
    assert_eq!(lines(&site)[6..], ["+db", "+api", "+web"]);
    // In any order, several stops are carried out as one.
    let (code, text) = ask(&site, &["stop", "db", "api", "web"]);
    assert_eq!((code, text.as_str()), (Some(0), "db is stopped\napi is stopped\nweb is stopped\n"));
    let (code, text) = ask(&site, &["shutdown"]);
    assert_eq!(code, Some(0), "{text}");
    daemon.wait();
}

#[test]
fn an_agent_waits_for_one_that_does_not_start() {
    let site = DaemonDir::new(&[]);
    let entries = [
        stand_in(&site, "db", "exit 1", ", health_check: { heartbeat_timeout: 0 }"),
        recorder(&site, "web", ", depends_on: [db]"),
    ];
    configure(&site, 0, &entries);
    let _daemon = site.start();
    site.wait_for("db", "has failed at least once", |agent| agent["retries"].as_u64() > Some(0));
    let web = site.wait_for("web", "waits", |agent| agent["state"] == "waiting");
    assert!(web["why"].as_str().unwrap().starts_with("waits for db, which is "), "{web}");
    assert_eq!(lines(&site).len(), 0, "it was not started");
}

#[test]
fn a_signal_reaches_the_main_process_and_is_named_if_it_ends_it() {
    let site = DaemonDir::new(&[]);
    let script = "trap 'echo seen >>hups' HUP\n: > ready\nwhile :; do sleep 0.1; done";
    configure(&site, 0, &[stand_in(&site, "a", script, ", health_check: { heartbeat_timeout: 0 }")]);
    let _daemon = site.start();
    running(&site, &["a"]);
    let dir = site.path().join("state/agents/a");
    wait_until("the script is ready", || dir.join("ready").exists());
    assert_eq!(ask(&site, &["signal", "a", "SIGHUP"]).0, Some(0));
    wait_until("the signal has arrived", || dir.join("hups").exists());
    let (code, text) = ask(&site, &["signal", "a", "NOTHING"]);
    assert!(code == Some(1) && text.contains("there is no signal \"NOTHING\""), "{code:?} {text}");
    assert_eq!(ask(&site, &["signal", "a", "KILL"]).0, Some(0));
    let agent = site.wait_for("a", "was restarted", |agent| agent["restarts"] == 1);
    assert!(causes(&agent).contains("sent by `signal` over the socket by "), "{}", causes(&agent));
}

#[test]
fn a_held_agent_is_shown_as_held_everywhere_and_after_the_next_start_of_the_daemon() {
    let site = DaemonDir::new(&[]);
    configure(&site, 0, &[recorder(&site, "a", "")]);
    let mut daemon = site.start();
    running(&site, &["a"]);
    let (code, text) = ask(&site, &["hold", "all"]);
    assert_eq!((code, text.as_str()), (Some(0), "a: restarts for bad checks are held\n"));
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait();
    let _next = site.start();
    running(&site, &["a"]);
    for args in [["status"].as_slice(), &["why", "a"]] {
        let (_, text) = ask(&site, args);
        assert!(text.contains("held") && text.contains("`hold` over the socket by"), "{args:?}: {text}");
    }
    assert_eq!(ask(&site, &["release", "a"]).0, Some(0));
    site.wait_for("a", "is not held", |agent| agent["hold"].is_null());
}
