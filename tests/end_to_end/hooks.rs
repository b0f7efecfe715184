//! Hooks: what they are told, and that nothing which they do delays supervision.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::report::Scenario;
use super::setup::{configure, free_port, kill, local, running, running_anew, stand_in};
use crate::support::agent::wait_until;
use crate::support::daemon::{DaemonDir, is_there};
use crate::support::http::get;
use crate::support::peer::{Behaviour, Peer};

const QUIET: &str = "exec sleep 3600";
const UNJUDGED: &str = ", health_check: { heartbeat_timeout: 0 }";

/// A daemon's directory with scripts as hooks.
struct Site {
    daemon_dir: DaemonDir,
    port: u16,
}

impl Site {
    fn new() -> Self {
        Self { daemon_dir: DaemonDir::new(&[]), port: free_port() }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.daemon_dir.path()).unwrap().join(name)
    }

    /// An executable script, as the only word of `exec`.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\ncd {} || exit 9\n{text}\n", self.path("").display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("exec: [{}]", path.display())
    }

    fn configure(&self, agents: &[String], hooks: &[String]) {
        configure(&self.daemon_dir, self.port, agents);
        let file = self.path("daemon.yaml");
        let hooks: String = hooks.iter().map(|hook| format!("  - {{ {hook} }}\n")).collect();
        let hooks = if hooks.is_empty() { "hooks: []\n".to_owned() } else { format!("hooks:\n{hooks}") };
        fs::write(&file, fs::read_to_string(&file).unwrap() + &hooks).unwrap();
    }

    /// What the daemon's health says about hooks.
    fn hooks(&self) -> Value {
        get(local(self.port), "/health").json()["hooks"].clone()
    }

    fn wait_for_hooks(&self, what: &str, fits: impl Fn(&Value) -> bool) {
        wait_until(what, || fits(&self.hooks()));
    }

    fn json(&self, name: &str) -> Value {
        let path = self.path(name);
        wait_until(&format!("{name} is written"), || path.exists());
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn pid(&self, name: &str) -> u32 {
        let path = self.path(name);
        let read = || fs::read_to_string(&path).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        wait_until(&format!("{name} is written"), || read().is_some());
        read().unwrap()
    }
}

/// Writes what it is told to files with the name of the event.
const WRITE: &str = "env > \"$OPS_AGENT_EVENT.env\"\ncat > input.new && mv input.new \"$OPS_AGENT_EVENT.json\"";

#[test]
fn a_program_is_told_of_each_event_in_its_environment_and_its_input() {
    let mut scenario = Scenario::begin("a hook with a program", "each event with its facts, as variables and JSON");
    let site = Site::new();
    let peer = Peer::http();
    let http = format!("http_endpoint: \"{}\", http_failures: 1, heartbeat_timeout: 0", peer.url());
    let crash = ", name: \"The one\\tthat ends\", labels: { rack: r1 }, restart: { max_retries: 1 }";
    let agents = [
        stand_in(&site.daemon_dir, "crash", "echo the last words; exit 3", &format!("{crash}{UNJUDGED}")),
        stand_in(
            &site.daemon_dir,
            "sick",
            QUIET,
            &format!(", restart: {{ policy: never }}, health_check: {{ {http} }}"),
        ),
    ];
    let hook = site.script("hook.sh", WRITE);
    site.configure(&agents, &[format!("{hook}, include_output: true")]);
    let mut daemon = site.daemon_dir.start();

    let failed = site.json("failed.json");
    let expected =
        json!({"agent_id": "crash", "name": "The one that ends", "labels": {"rack": "r1"}, "type": "custom"});
    assert!(expected.as_object().unwrap().iter().all(|(key, value)| failed[key] == *value), "{failed}");
    assert_eq!(
        (&failed["event"], &failed["state"], &failed["from"]),
        (&json!("failed"), &json!("failed"), &json!("starting"))
    );
    assert_eq!((&failed["last_exit"]["code"], &failed["restarts"]), (&json!(3), &json!(1)));
    assert!(
        failed["reason"]["code"].is_string() && failed["output"].to_string().contains("the last words"),
        "{failed}"
    );
    let restarted = site.json("restarted.json");
    assert_eq!((&restarted["agent_id"], &restarted["state"]), (&json!("crash"), &json!("starting")));
    let environment = fs::read_to_string(site.path("failed.env")).unwrap();
    for line in
        ["OPS_AGENT_ID=crash", "OPS_AGENT_EVENT=failed", "OPS_AGENT_EXIT_CODE=3", "OPS_AGENT_NAME=The one that ends"]
    {
        assert!(environment.lines().any(|shown| shown == line), "{line} in {environment}");
    }
    assert!(!environment.contains("SECRET") && !environment.contains("the last words"), "{environment}");

    site.daemon_dir.wait_for_state("sick", "running");
    peer.behave(Behaviour::status(500, "", ""));
    assert_eq!(site.json("unhealthy.json")["agent_id"], "sick");
    assert!(!site.path("recovered.json").exists());
    peer.behave(Behaviour::status(200, "", ""));
    let recovered = site.json("recovered.json");
    assert_eq!((&recovered["from"], &recovered["state"]), (&json!("unhealthy"), &json!("running")));
    site.wait_for_hooks("four hooks were told", |hooks| hooks["ok"] == 4);
    assert_eq!((&site.hooks()["failed"], &site.hooks()["last_failure"]), (&json!(0), &Value::Null));
    assert_eq!(daemon.stop(), Some(0));
    scenario.saw("failed, restarted, unhealthy and recovered");
}

#[test]
fn a_hook_that_hangs_forks_floods_or_cannot_start_delays_no_restart() {
    let mut scenario = Scenario::begin(
        "hooks that misbehave",
        "an agent that dies is restarted while they hang, and nothing is left of them at the end",
    );
    let site = Site::new();
    let agents = [stand_in(&site.daemon_dir, "a", QUIET, UNJUDGED)];
    let with = |name: &str, text: &str| format!("on: [restarted], {}", site.script(name, text));
    let hooks = [
        with("hang.sh", "echo $$ > hang.new && mv hang.new hang.pid; sleep 3600 & wait"),
        with("fork.sh", "(trap '' TERM HUP; exec sleep 3600) & echo $! > fork.new && mv fork.new fork.pid"),
        with("flood.sh", "exec yes"),
        "on: [restarted], exec: [/nowhere/hook]".to_owned(),
    ];
    site.configure(&agents, &hooks);
    let mut daemon = site.daemon_dir.start();
    let first = running(&site.daemon_dir, &["a"])[0];
    kill(first);
    let second = running_anew(&site.daemon_dir, "a", first)["pid"].as_u64().unwrap();
    let hang = site.pid("hang.pid");
    site.wait_for_hooks("three hooks have ended", |hooks| hooks["ok"] == 1 && hooks["failed"] == 2);
    assert_eq!(site.hooks()["pending"], 1, "one hangs");
    wait_until("what a hook left in the background is gone", || !is_there(site.pid("fork.pid")));
    kill(u32::try_from(second).unwrap());
    running_anew(&site.daemon_dir, "a", u32::try_from(second).unwrap());
    assert!(is_there(hang), "it still hangs");
    let metrics = get(local(site.port), "/metrics").body;
    let line =
        |result: &str| metrics.lines().find(|line| line.contains(&format!("hook_runs_total{{result=\"{result}\"}}")));
    assert!(["ok", "failed", "dropped"].into_iter().all(|result| line(result).is_some()), "{metrics}");
    assert!(get(local(site.port), "/health").json()["healthy"].as_bool().unwrap(), "a hook is no fault of the daemon");
    assert!(site.hooks()["last_failure"]["hook"].as_str().unwrap().starts_with("hooks["));
    assert!(site.daemon_dir.agent("a")["restarts"].as_u64() >= Some(2));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    wait_until("the hook that hangs is gone", || !is_there(hang));
    scenario.saw("restarted twice meanwhile; no process of a hook is left");
}

#[test]
fn a_webhook_is_tried_again_and_not_redirected_and_its_address_is_shown_nowhere() {
    let mut scenario = Scenario::begin(
        "webhooks",
        "posted as JSON; tried again after 503; a redirect is not followed; only scheme and host are shown",
    );
    let site = Site::new();
    let (peer, elsewhere) = (Peer::http(), Peer::http());
    let secret = "T0P-SECRET-PATH";
    let address = |peer: &Peer| peer.url().replace("/heartbeat", &format!("/{secret}?key={secret}"));
    assert!(address(&peer).contains(secret));
    let agents = [stand_in(&site.daemon_dir, "a", QUIET, UNJUDGED), stand_in(&site.daemon_dir, "b", QUIET, UNJUDGED)];
    site.configure(&agents, &[format!("on: [restarted], agents: [a], webhook: \"{}\"", address(&peer))]);
    let mut daemon = site.daemon_dir.start();
    let before = running(&site.daemon_dir, &["a", "b"]);
    peer.behave(Behaviour::status(503, "", ""));
    kill(before[1]);
    running_anew(&site.daemon_dir, "b", before[1]);
    kill(before[0]);
    wait_until("the webhook is refused", || !peer.received().is_empty());
    peer.behave(Behaviour::status(204, "", ""));
    site.wait_for_hooks("the webhook is told", |hooks| hooks["ok"] == 1);
    let received = peer.received();
    assert!(received.len() >= 2 && received.iter().all(|it| it.body["agent_id"] == "a"), "{received:?}");
    assert!(received[0].head.starts_with(&format!("POST /{secret}?key={secret} HTTP/1.1")), "{received:?}");

    let location = format!("location: {}\r\n", elsewhere.url());
    peer.behave(Behaviour::status(307, &location, ""));
    let url = address(&peer);
    let with = |more: &str| site.configure(&agents, &[format!("on: [failed, restarted], webhook: \"{url}2\"{more}")]);
    with("");
    let reload = site.daemon_dir.ask(&["reload"]);
    kill(running(&site.daemon_dir, &["b"])[0]);
    site.wait_for_hooks("the redirect is refused", |hooks| hooks["failed"] == 1);
    assert!(site.hooks()["last_failure"]["reason"].as_str().unwrap().starts_with("answers 307"), "{}", site.hooks());
    assert!(elsewhere.received().is_empty(), "it was not followed");
    let tested = site.daemon_dir.ask(&["hook", "test"]);
    assert_eq!(tested.status.code(), Some(1));
    with(", exec: [/bin/true]");
    let refused = site.daemon_dir.ask(&["validate"]);
    assert_eq!(refused.status.code(), Some(78));
    let shown = [&tested, &refused, &reload].map(|output| format!("{output:?}")).concat();
    assert!(shown.contains("is set beside `exec`") && shown.contains("answers 307"), "{shown}");
    assert!(format!("{reload:?}").contains("hooks"), "the reload tells that they have changed: {reload:?}");
    let answers = ["/health", "/metrics", "/agents"].map(|path| get(local(site.port), path).body).concat();
    assert_eq!(daemon.stop(), Some(0));
    let log = format!("{:?}", daemon.rest_of_the_log());
    assert!(log.contains("hook failed") && log.contains("http://127.0.0.1:"), "{log}");
    for (what, text) in [("commands", &shown), ("answers", &answers), ("the log", &log)] {
        assert!(!text.contains(secret), "the address is in {what}: {text}");
    }
    scenario.saw("all of it");
}

#[test]
fn hook_test_runs_each_hook_once_and_fails_if_one_fails() {
    let site = Site::new();
    let agents = [stand_in(&site.daemon_dir, "a", QUIET, ""), stand_in(&site.daemon_dir, "b", QUIET, "")];
    let say = site.script("say.sh", "echo \"$OPS_AGENT_EVENT of $OPS_AGENT_ID\"; cat; echo >&2 done");
    let hooks = [
        format!("on: [failed, held], {say}"),
        format!("on: [unhealthy], agents: [b], {}", site.script("bad.sh", "exit 5")),
    ];
    site.configure(&agents, &hooks);
    let run = |args: &[&str]| {
        let output = site.daemon_dir.ask(&[&["hook", "test"], args].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, _) = run(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("failed of a") && text.contains("\"test\":true") && text.contains("    done"), "{text}");
    assert!(text.contains("FAILED  hooks[1] ") && text.contains("on `unhealthy`: exited with code 5"), "{text}");
    let (code, text, _) = run(&["held"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("ok  hooks[0] ") && text.contains("on `held`") && text.contains("held of \n"), "{text}");
    assert_eq!(run(&["failed", "--agent", "b"]).0, Some(0));
    let (code, _, error) = run(&["unhealthy", "--agent", "a"]);
    assert!(code == Some(1) && error.contains("no hook"), "{error}");
    assert_eq!(run(&["--agent", "c"]).0, Some(1));
    assert_eq!(run(&["elsewhere"]).0, Some(64));
}

#[test]
fn a_hold_is_told_for_all_agents_together() {
    let mut scenario =
        Scenario::begin("a hook for a hold", "told with its reason and without an agent, when all fail together");
    let site = Site::new();
    let peer = Peer::http();
    let check =
        format!(", health_check: {{ http_endpoint: \"{}\", http_failures: 1, heartbeat_timeout: 0 }}", peer.url());
    let ids = ["a", "b", "c", "d"];
    let agents = ids.map(|id| stand_in(&site.daemon_dir, id, QUIET, &check));
    site.configure(&agents, &[format!("on: [held], agents: [a], {}", site.script("hook.sh", WRITE))]);
    let _daemon = site.daemon_dir.start();
    running(&site.daemon_dir, &ids);
    peer.behave(Behaviour::status(500, "", ""));
    let held = site.json("held.json");
    assert_eq!(held["reason"]["code"], "mass_failure", "{held}");
    assert!(held.get("agent_id").is_none() && held["cause"].as_str().unwrap().contains("of 4 agents"), "{held}");
    scenario.saw(held["cause"].to_string());
}

#[test]
fn the_hold_of_an_operator_is_told_with_its_agent_and_who_gave_it() {
    let mut scenario = Scenario::begin("a hook for `daemon hold`", "told with the agent and who holds it");
    let site = Site::new();
    let agents = ["a", "b"].map(|id| stand_in(&site.daemon_dir, id, QUIET, UNJUDGED));
    site.configure(&agents, &[format!("on: [held], agents: [a], {}", site.script("hook.sh", WRITE))]);
    let _daemon = site.daemon_dir.start();
    let pids = running(&site.daemon_dir, &["a", "b"]);
    assert!(site.daemon_dir.ask(&["hold", "b", "a"]).status.success());
    let held = site.json("held.json");
    assert_eq!((&held["agent_id"], &held["pid"], &held["state"]), (&json!("a"), &json!(pids[0]), &json!("running")));
    let by = held["reason"]["text"].as_str().unwrap();
    assert!(held["reason"]["code"] == "hold_command" && by.starts_with("`hold` over the socket by "), "{held}");
    assert!(held["cause"].as_str().unwrap().contains(by), "{held}");
    site.wait_for_hooks("one hook was told", |hooks| hooks["pending"] == 0);
    assert_eq!(site.hooks()["ok"], 1, "this hook is not told of `b`");
    scenario.saw(held["cause"].to_string());
}
