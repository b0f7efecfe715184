//! Acts that end the process, and acts that concern its end.

use std::os::unix::process::ExitStatusExt as _;

use ops_agent::simulate::EvidenceEvent;
use rustix::process::Signal;

use super::trial::Trial;
use crate::support::agent::AgentDir;
use crate::support::http::get;

#[test]
fn a_crash_is_the_signal_with_its_default_action() {
    let crash = |name: &str| Trial::start(&format!("{{ at: 20ms, act: {{ crash: {{ signal: {name} }} }} }}"));
    for (trial, signal) in [("kill", 9), ("segv", 11), ("abrt", 6)].map(|(name, signal)| (crash(name), signal)) {
        assert_eq!(trial.end().signal(), Some(signal));
        trial.begun(0, "crash");
    }
}

#[test]
fn an_exit_is_at_once_and_leaves_the_status_as_it_was() {
    let trial = Trial::start("{ from: ready, act: { exit: { code: 78 } } }");
    assert_eq!(trial.end().code(), Some(78));
    trial.wait_for(&EvidenceEvent::Exit { code: 78 });
    let status = trial.status().unwrap();
    assert_ne!(status.state.as_str(), "stopped");
    let early = Trial::start("{ at: 20ms, act: { exit: { code: 3 } } }");
    assert_eq!(early.end().code(), Some(3));
    let lines = early.evidence();
    let [start, begin] = [&lines[0], &early.begun(0, "exit")];
    // The time counts from before the evidence was opened.
    assert!(begin.monotonic - start.monotonic > 0.01, "{lines:?}");
}

#[test]
fn a_panic_ends_the_process_with_its_own_code() {
    let trial = Trial::start("{ from: ready, act: panic }");
    assert_eq!(trial.end().code(), Some(101));
    trial.wait_for(&EvidenceEvent::Exit { code: 101 });
}

#[test]
fn an_ignored_sigterm_is_only_evidence() {
    let trial = Trial::start("{ from: ready, act: ignore_sigterm }");
    trial.begun(0, "ignore_sigterm");
    trial.terminate();
    assert_eq!(get(trial.address(), "/health").json()["state"], "running");
    trial.signal(Signal::INT);
    assert_eq!(trial.end().code(), Some(0), "SIGINT still stops it");
}

#[test]
fn a_sigterm_before_the_end_of_the_setup_is_ignored_too() {
    let trial = Trial::start("{ act: slow_start }\n{ act: ignore_sigterm }");
    trial.begun(1, "ignore_sigterm");
    trial.terminate();
    trial.signal(Signal::INT);
    assert_eq!(trial.end().code(), Some(0), "SIGINT still stops it");
    assert_eq!(trial.status(), None);
}

#[test]
fn a_slow_stop_takes_as_long_as_the_plan_says() {
    let trial = Trial::start("act: { slow_stop: { takes: 1s } }");
    trial.ready();
    trial.terminate();
    let stop = trial.wait_for(&EvidenceEvent::Signal { signal: "SIGTERM".to_owned() });
    assert_eq!(trial.end().code(), Some(0));
    let exit = trial.wait_for(&EvidenceEvent::Exit { code: 0 });
    assert!(exit.monotonic - stop.monotonic >= 1.0);
}

#[test]
fn a_signal_is_evidence_before_the_exit_that_it_causes() {
    let trial = Trial::start("{ at: 1h, act: panic }");
    trial.ready();
    trial.signal(Signal::TERM);
    assert_eq!(trial.end().code(), Some(0));
    let events: Vec<EvidenceEvent> = trial.evidence().into_iter().map(|line| line.event).collect();
    let signal = EvidenceEvent::Signal { signal: "SIGTERM".to_owned() };
    assert_eq!(events, [EvidenceEvent::Start, EvidenceEvent::Ready, signal, EvidenceEvent::Exit { code: 0 }]);
}

#[test]
fn signals_are_evidence_and_have_their_usual_effect() {
    let trial = Trial::start("{ from: ready, act: hang_loop }");
    trial.begun(0, "hang_loop");
    trial.terminate();
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::CONT, "SIGCONT"), (Signal::USR1, "SIGUSR1")] {
        trial.signal(signal);
        trial.wait_for(&EvidenceEvent::Signal { signal: name.to_owned() });
    }
    assert_eq!(trial.end().signal(), Some(Signal::USR1.as_raw()), "an agent has no handler for it");
}

#[test]
fn everything_says_that_it_is_simulated() {
    let trial = Trial::start("{ at: 1h, act: panic }");
    trial.ready();
    assert_eq!(get(trial.address(), "/health").json()["simulated"], true);
    let status = trial.wait_for_status("it runs", |status| status.state.as_str() == "running");
    assert!(status.version.ends_with(" (simulated)"), "{}", status.version);
    trial.terminate();
    assert_eq!(trial.end().code(), Some(0));
    let mut agent = trial.agent.borrow_mut();
    let log = agent.rest_of_the_log();
    let starting = log.iter().find(|line| line["message"] == "starting").unwrap();
    assert!(starting["version"].as_str().unwrap().ends_with(" (simulated)"), "{starting}");
    assert!(log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("simulated: "))));

    let plain = AgentDir::new("");
    let version = plain.command(&["--version"]).output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("simulated"), "{version:?}");
    let mut agent = plain.start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], agent.port()));
    assert_eq!(get(address, "/health").json().get("simulated"), None);
    agent.stop();
}

/// Runs an agent that does not start.
fn refused(extra: &str, plan: &str) -> (Option<i32>, String) {
    let directory = AgentDir::new(extra);
    std::fs::write(directory.path().join("plan.yaml"), plan).unwrap();
    let output = directory.command(&["run", "--config", "agent.yaml", "--simulate", "plan.yaml"]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(feature = "tls")]
#[test]
fn an_agent_with_tls_is_refused() {
    let (code, text) = refused("heartbeat: { url: 'https://127.0.0.1:1/heartbeat' }\n", "evidence: evidence.jsonl\n");
    assert!(code == Some(1) && text.contains("`heartbeat.url` uses TLS"), "{text}");
}

#[test]
fn a_log_that_is_no_evidence_and_a_wrong_plan_are_refused() {
    for (plan, code, part) in [
        ("evidence: agent.yaml\n", 1, "line 1 is no evidence"),
        ("evidence: none/evidence.jsonl\n", 1, "No such file or directory"),
        ("evidenc: x\n", 78, "did you mean `evidence`?"),
    ] {
        let (exit, text) = refused("", plan);
        assert!(exit == Some(code) && text.contains(part), "{exit:?} {text}");
    }
}
