//! When steps begin and end, and what the agent does in between.

use std::fs;

use ops_agent::simulate::EvidenceEvent;
use ops_protocol::status_file::StatusFile;
use ops_runtime::observe::{Stat, kernel_state};
use rustix::process::Signal;

use super::trial::{Trial, ask, is_silent};
use crate::support::agent::wait_until;
use crate::support::http::get;
use crate::support::peer::{Peer, Received};

#[test]
fn a_step_applies_to_its_lives_and_each_start_is_a_life() {
    let trial = Trial::start(
        "{ from: ready, life: [1, 3], act: { exit: { code: 9 } } }\n{ from: ready, life: 2, act: { exit: { code: 8 } } }",
    );
    for (life, step, code) in [(1, 0, 9), (2, 1, 8), (3, 0, 9)] {
        if life > 1 {
            trial.start_again();
        }
        let line = trial.wait_in(life, &EvidenceEvent::Begin { step, act: "exit".to_owned() });
        assert_eq!(line.pid, trial.pid());
        assert_eq!(trial.end().code(), Some(code));
    }
    trial.start_again();
    trial.wait_in(4, &EvidenceEvent::Ready);
    trial.signal(Signal::TERM);
    assert_eq!(trial.end().code(), Some(0));
    let lives: Vec<u64> =
        trial.evidence().iter().filter(|line| line.event == EvidenceEvent::Start).map(|line| line.life).collect();
    assert_eq!(lives, [1, 2, 3, 4]);
}

#[test]
fn a_line_names_the_process_as_the_kernel_does() {
    let trial = Trial::start("{ at: 1h, act: panic }");
    trial.ready();
    for line in trial.evidence() {
        assert_eq!((line.pid, line.process_start), (trial.pid(), Stat::of(trial.pid()).unwrap().start));
        assert!(line.boottime + 1.0 > line.monotonic && line.monotonic > 0.0, "{line:?}");
    }
}

#[test]
fn a_slow_start_has_neither_log_nor_file_until_it_is_over() {
    let slow = Trial::start("act: slow_start\n{ at: 300ms, act: ignore_sigterm }");
    let trial = Trial::start("{ for: 300ms, act: slow_start }");
    let begun = trial.begun(0, "slow_start");
    let over = trial.over(0, "slow_start");
    trial.ready();
    let ready = trial.wait_for(&EvidenceEvent::Ready);
    assert!(over.monotonic - begun.monotonic >= 0.3 && ready.monotonic > over.monotonic);
    assert_eq!(get(trial.address(), "/health").status, 200);
    slow.begun(1, "ignore_sigterm");
    assert!(!slow.file().parent().unwrap().exists());
}

#[test]
fn an_agent_that_never_becomes_ready_stays_in_starting() {
    let trial = Trial::start("act: never_ready");
    let late = Trial::start("{ for: 300ms, act: never_ready }");
    trial.wait_for_status("it starts", |status| status.state.as_str() == "starting");
    let over = late.over(0, "never_ready");
    let ready = late.wait_for(&EvidenceEvent::Ready);
    assert!(ready.monotonic >= over.monotonic);
    assert_eq!(get(trial.address(), "/health").status, 503);
    assert!(!trial.evidence().iter().any(|line| line.event == EvidenceEvent::Ready));
}

#[test]
fn a_loop_that_hangs_silently_accepts_and_does_not_answer() {
    let trial = Trial::start("{ from: ready, act: hang_loop }\n{ from: ready, at: 400ms, act: ignore_sigterm }");
    let address = trial.address();
    trial.begun(0, "hang_loop");
    let stream = ask(address);
    trial.begun(1, "ignore_sigterm");
    assert!(is_silent(&stream));
    let over = Trial::start("{ from: ready, for: 300ms, act: hang_loop }");
    over.over(0, "hang_loop");
    assert!(over.answer().starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_loop_that_hangs_with_http_answers_and_refreshes_no_file() {
    let trial = Trial::configured(
        "state: { refresh: 500ms }\n",
        "{ from: ready, act: { hang_loop: { http: answered } } }\n\
         { from: ready, at: 300ms, act: ignore_sigterm }\n{ from: ready, at: 1100ms, act: leak_descriptors }",
    );
    trial.begun(1, "ignore_sigterm");
    let before = trial.status().unwrap().sequence;
    trial.begun(2, "leak_descriptors");
    assert_eq!(trial.status().unwrap().sequence, before, "a refresh was due");
    assert_eq!(get(trial.address(), "/health").status, 200);
}

#[test]
fn a_stopped_process_is_continued_after_its_time() {
    let trial = Trial::start("{ from: ready, for: 300ms, act: sigstop }");
    wait_until("it is stopped", || kernel_state(trial.pid()) == Some('T'));
    trial.wait_for(&EvidenceEvent::Signal { signal: "SIGCONT".to_owned() });
    trial.over(0, "sigstop");
    assert_eq!(get(trial.address(), "/health").status, 200);
    let forever = Trial::start("{ from: ready, act: sigstop }");
    wait_until("it is stopped", || kernel_state(forever.pid()) == Some('T'));
}

#[test]
fn an_agent_flaps_between_running_and_degraded_until_the_step_is_over() {
    let trial = Trial::start(
        "{ from: ready, for: 700ms, act: { flap: { every: 100ms } } }\n{ at: 900ms, from: ready, act: degrade }",
    );
    trial.over(0, "flap");
    trial.begun(1, "degrade");
    let mut agent = trial.agent.borrow_mut();
    for state in ["Running", "Degraded", "Running", "Degraded", "Running", "Degraded"] {
        agent.wait_for_state(state);
    }
    drop(agent);
    trial.wait_for_status("it is degraded", |status| status.state.as_str() == "degraded");
    // The file comes before the API.
    wait_until("the API says so", || get(trial.address(), "/health").json()["faults"][0]["detail"] == "simulated");
}

#[test]
fn a_flood_has_line_ends_or_not() {
    let lines = Trial::start("{ from: ready, act: { flood_stdout: { mib_per_s: 1 } } }");
    let is_flood = |line: &serde_json::Value| line.as_str().is_some_and(|text| text.starts_with("xxxx"));
    let line = lines.agent.borrow_mut().wait_for("the flood", is_flood);
    assert_eq!(line.as_str().unwrap().len(), 127);
    let one = Trial::start("{ from: ready, for: 300ms, act: { flood_stdout: { mib_per_s: 1, line_ends: false } } }");
    one.over(0, "flood_stdout");
    one.terminate();
    let line = one.agent.borrow_mut().wait_for("the flood", is_flood);
    assert!(line.as_str().unwrap().len() > 60_000);
}

#[test]
fn descriptors_memory_and_cpu_are_used_up_in_the_agent() {
    let trial = Trial::start(
        "{ from: ready, act: { leak_descriptors: { per_s: 1000, ceiling: 150 } } }\n\
         { from: ready, act: { leak_memory: { mib_per_s: 300, ceiling_mib: 60 } } }\n\
         { from: ready, act: { burn_cpu: { threads: 2 } } }",
    );
    trial.begun(2, "burn_cpu");
    let files = || fs::read_dir(format!("/proc/{}/fd", trial.pid())).unwrap().count();
    let stat = || Stat::of(trial.pid()).unwrap();
    wait_until("descriptors are open", || files() > 150);
    wait_until("memory is used", || stat().resident_pages * rustix::param::page_size() as u64 > 60 << 20);
    let ticks = stat().cpu_ticks;
    wait_until("the processor is used", || stat().cpu_ticks > ticks + 20);
}

#[test]
fn after_the_steps_the_agent_is_as_before() {
    let daemon = Peer::http();
    let config = format!("state: {{ refresh: 500ms }}\nheartbeat: {{ url: '{}', interval: 200ms }}\n", daemon.url());
    let acts = [
        "hang_loop",
        "{ hang_loop: { http: answered } }",
        "hang_writer",
        "sigstop",
        "ignore_sigterm",
        "{ slow_stop: { takes: 1h } }",
        "leak_memory",
        "{ burn_cpu: { in: child } }",
        "{ leak_descriptors: { per_s: 3000 } }",
        "{ leave_child: { how: port } }",
        "http_closed",
        "http_silent",
        "{ http_slow: { after: 1h } }",
        "http_error",
        "http_garbage",
        "http_trickle",
        "http_stalled",
        "http_false_ok",
        "file_stale",
        "file_touched",
        "file_deleted",
        "file_missing",
        "file_torn",
        "file_future",
        "file_pid",
        "file_incarnation",
        "heartbeat_stopped",
        "{ heartbeat_late: { by: 1h } }",
        "heartbeat_doubled",
        "heartbeat_pid",
        "{ heartbeat_id: { agent_id: other } }",
        "{ heartbeat_incarnation: { incarnation: 0 } }",
        "heartbeat_clock",
        "heartbeat_malformed",
        "heartbeat_huge",
        "heartbeat_trickle",
        "degrade",
        "flap",
    ];
    let steps: Vec<String> = acts.iter().map(|act| format!("{{ from: ready, for: 400ms, act: {act} }}")).collect();
    let trial = Trial::configured(&config, &steps.join("\n"));
    wait_until("all steps are over", || {
        trial.evidence().iter().filter(|line| matches!(line.event, EvidenceEvent::End { .. })).count() == acts.len()
    });
    assert!(!trial.evidence().iter().any(|line| matches!(line.event, EvidenceEvent::Failed { .. })));
    wait_until("it answers", || trial.is_healthy());
    let own = |status: &StatusFile| (status.pid, status.incarnation) == (trial.pid(), 1);
    let first = trial.wait_for_status("the file is the true one", own);
    trial.wait_for_status("the file is refreshed", |status| own(status) && status.sequence > first.sequence);
    let before = daemon.received().len();
    let is_true = |heartbeat: &Received| heartbeat.body["pid"] == trial.pid() && heartbeat.body["agent_id"] == "tested";
    daemon.wait_until(|received| received.len() > before + 1 && received.last().is_some_and(is_true));
    let files = || fs::read_dir(format!("/proc/{}/fd", trial.pid())).unwrap().count();
    wait_until("descriptors are closed", || files() < 100);
    for line in trial.evidence() {
        if let EvidenceEvent::Child { child, .. } = line.event {
            wait_until("the children have ended", || Stat::of_living(child).is_none());
        }
    }
    trial.terminate();
    assert_eq!(trial.end().code(), Some(0));
}
