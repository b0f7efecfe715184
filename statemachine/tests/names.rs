//! The names that other programs read, and what each state means for them.

use statemachine::lifecycle::{self, FaultName, Lifecycle, Part};
use statemachine::step::Refused;
use statemachine::supervision::{self, BootId, ExitCodes, Policy, StopSignal, Supervision};
use statemachine::table::{self, Table};
use strum::VariantArray as _;

#[test]
fn a_lifecycle_state_decides_what_each_interface_reports() {
    use lifecycle::State;
    // The state with its name, then: healthy, alive, heartbeats at their interval.
    let expected = [
        (State::Starting, "starting", false, true, false),
        (State::Running, "running", true, true, true),
        (State::Degraded, "degraded", false, true, true),
        (State::Stopping, "stopping", false, true, false),
        (State::Stopped, "stopped", false, false, false),
    ];
    let actual = State::VARIANTS.iter().map(|s| (*s, s.as_str(), s.is_healthy(), s.is_alive(), s.sends_heartbeats()));
    assert_eq!(actual.collect::<Vec<_>>(), expected);
}

#[test]
fn a_supervision_state_has_a_name_and_decides_whether_checks_count() {
    use supervision::State;
    // The state with its name, then: it has a process, checks decide.
    let expected = [
        (State::Stopped, "stopped", false, false),
        (State::Waiting, "waiting", false, false),
        (State::Starting, "starting", true, true),
        (State::Running, "running", true, true),
        (State::Unhealthy, "unhealthy", true, true),
        (State::Stopping, "stopping", true, false),
        (State::Backoff, "backoff", false, false),
        (State::Failed, "failed", false, false),
    ];
    let actual = State::VARIANTS.iter().map(|s| (*s, s.as_str(), s.has_process(), s.is_judged()));
    assert_eq!(actual.collect::<Vec<_>>(), expected);
    for state in State::VARIANTS {
        assert_eq!(State::named(state.as_str()), Some(*state));
    }
    assert_eq!(State::named("Running"), None);
}

#[test]
fn faults_and_parts_have_the_names_of_the_status_file() {
    let faults: Vec<&str> = FaultName::VARIANTS.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(faults, ["heartbeat", "http", "resources", "status_file"]);
    let parts: Vec<&str> = Part::VARIANTS.iter().map(|part| part.as_str()).collect();
    assert_eq!(parts, ["api", "status_file", "probes"]);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let policy = Policy::default();
    assert_eq!((policy.stable_after.as_secs(), policy.stop.timeout.as_secs()), (300, 30));
    assert_eq!((policy.stop.hung_timeout.as_secs(), policy.stop.signal), (5, StopSignal::Term));
    let codes = |codes: ExitCodes| codes.iter().collect::<Vec<u8>>();
    assert_eq!((codes(policy.success_exit_codes), codes(policy.no_restart_exit_codes)), (vec![0], vec![78]));
    let names: Vec<&str> = StopSignal::VARIANTS.iter().map(|signal| signal.as_str()).collect();
    assert_eq!(names, ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL"]);
}

#[test]
fn messages_name_the_fact() {
    let refused = Refused { state: supervision::State::Stopped, event: supervision::Event::Ended };
    assert_eq!(refused.to_string(), "Ended cannot happen in Stopped");
    let error = "no boot id".parse::<BootId>().unwrap_err().to_string();
    assert_eq!(error, "not a boot id: 32 hexadecimal digits are needed, as in /proc/sys/kernel/random/boot_id");
}

#[test]
fn pictures_mark_exactly_the_final_states() {
    assert_eq!(final_states::<Lifecycle>(), ["Stopped"]);
    assert!(final_states::<Supervision>().is_empty());
    assert!(table::to_dot::<Lifecycle>().contains("    Starting -> Running [label=\"Proved\"];"));
    assert!(table::to_text::<Lifecycle>().contains("Persist, Publish"));
}

/// The final states, as both pictures show them.
fn final_states<T: Table>() -> Vec<String> {
    let mermaid = table::to_mermaid::<T>();
    let dot = table::to_dot::<T>();
    let states = T::STATES.iter().map(|state| format!("{state:?}"));
    let is_final = |state: &String| mermaid.contains(&format!("    {state} --> [*]\n"));
    let (ends, others): (Vec<String>, Vec<String>) = states.partition(is_final);
    for end in &ends {
        assert!(dot.contains(&format!("    {end} [peripheries=2];")), "{dot}");
    }
    assert!(!others.iter().any(|state| dot.contains(&format!("    {state} [peripheries=2];"))), "{dot}");
    ends
}
