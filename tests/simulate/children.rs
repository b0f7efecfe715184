//! Processes that an agent starts.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;

use ops_agent::simulate::EvidenceEvent;
use ops_runtime::observe::Stat;
use rustix::process::{Pid, Signal, kill_process};

use super::trial::Trial;
use crate::support::agent::wait_until;

fn kill(pid: u32) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
}

fn lives(pid: u32) -> bool {
    Stat::of_living(pid).is_some()
}

fn arguments(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// Whether a process uses what it should.
type IsUsed = fn(u32) -> bool;

#[test]
fn a_child_uses_something_up() {
    let used: [(&str, IsUsed); 3] = [
        ("burn_cpu: { in: child }", |child| Stat::of(child).is_ok_and(|stat| stat.cpu_ticks > 10)),
        ("leak_memory: { in: child, mib_per_s: 300, ceiling_mib: 60 }", |child| {
            Stat::of(child).is_ok_and(|stat| stat.resident_pages * rustix::param::page_size() as u64 > 60 << 20)
        }),
        ("leak_descriptors: { in: child, per_s: 1000, ceiling: 150 }", |child| {
            fs::read_dir(format!("/proc/{child}/fd")).is_ok_and(|files| files.count() > 150)
        }),
    ];
    let trials =
        used.map(|(act, is_used)| (Trial::start(&format!("{{ from: ready, act: {{ {act} }} }}")), act, is_used));
    for (trial, act, is_used) in &trials {
        let child = trial.child();
        wait_until("the child is the agent's program", || arguments(child).contains(" simulated-child {"));
        wait_until(act, || is_used(child));
    }
}

#[test]
fn a_child_ends_when_its_agent_is_killed() {
    let trial = Trial::start("{ from: ready, act: { burn_cpu: { in: child } } }");
    let child = trial.child();
    trial.signal(Signal::KILL);
    trial.end();
    wait_until("the child has ended", || !lives(child));
}

#[test]
fn a_left_child_outlives_its_agent() {
    for (how, group, session) in [("group", true, true), ("session", false, false)] {
        let trial = Trial::start(&format!("{{ from: ready, act: {{ leave_child: {{ how: {how} }} }} }}"));
        let child = trial.child();
        let own = Stat::of(trial.pid()).unwrap();
        wait_until("it is where the plan says", || {
            Stat::of(child)
                .is_ok_and(|stat| (stat.group == own.group) == group && (stat.session == own.session) == session)
        });
        assert_eq!(Stat::of(child).unwrap().parent, trial.pid());
        trial.terminate();
        assert_eq!(trial.end().code(), Some(0));
        assert!(lives(child));
        kill(child);
    }
}

#[test]
fn a_left_child_holds_the_port() {
    let trial = Trial::start("{ from: ready, act: { leave_child: { how: port } } }");
    let (child, address) = (trial.child(), trial.address());
    trial.signal(Signal::KILL);
    assert_eq!(trial.end().signal(), Some(Signal::KILL.as_raw()));
    assert!(TcpListener::bind(address).is_err());
    kill(child);
    wait_until("the port is free", || TcpListener::bind(address).is_ok());
}

#[test]
fn a_left_child_ends_with_its_step() {
    let trial = Trial::start("{ from: ready, for: 300ms, act: { leave_child: { how: session } } }");
    let child = trial.child();
    trial.over(0, "leave_child");
    wait_until("the child has ended", || !lives(child));
}

#[test]
fn a_daemonized_agent_is_the_next_life_in_a_session_of_its_own() {
    let trial = Trial::start("{ from: ready, act: daemonize }");
    let first = trial.wait_for(&EvidenceEvent::Start);
    assert_eq!(trial.end().code(), Some(0));
    let second = trial.wait_in(2, &EvidenceEvent::Ready);
    assert_ne!(second.pid, first.pid);
    let stat = Stat::of(second.pid).unwrap();
    assert_eq!((stat.session, stat.group), (second.pid, second.pid));
    assert!(arguments(second.pid).contains(" run --config agent.yaml --simulate plan.yaml"));
    assert_eq!(trial.status().unwrap().pid, second.pid);
    kill(second.pid);
    wait_until("the copy has ended", || !lives(second.pid));
}
