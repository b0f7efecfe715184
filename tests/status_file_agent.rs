//! The real agent, killed or failing while it writes its status file.

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ops_protocol::status_file::{Ended, ReadError};
use ops_runtime::observe::read_status;
use statemachine::lifecycle::State;
use test_requirements::requires;

use crate::status_file_crash::STEPS;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::programs;

/// An agent with the shortest refresh interval.
fn agent_dir() -> AgentDir {
    AgentDir::new("state: { refresh: 100ms }\n")
}

/// That agent under strace, which injects faults into the system calls on its status file.
fn traced(agent_dir: &AgentDir, inject: &str) -> Agent {
    let state = agent_dir.path().join("state");
    let mut command = Command::new("strace");
    // -D: the child process is the agent, not strace, so a kill of the child kills the agent.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
    command.arg("-P").arg(&state).arg("-P").arg(state.join(".tested.ron.tmp")).arg("-P").arg(state.join("tested.ron"));
    command.args(["-e", &format!("inject={inject}"), "--", programs::agent(), "run", "--config", "agent.yaml"]);
    // strace counts per thread, and consecutive writes are on the same thread.
    command.current_dir(agent_dir.path()).env_clear();
    Agent::spawn(command)
}

#[requires("strace")]
#[test]
fn killed_at_each_system_call_of_a_write_the_agent_leaves_a_whole_file_and_starts_again() {
    for (call, times) in STEPS {
        for when in 1..=4 * times {
            let (agent_dir, what) = (agent_dir(), format!("{call} number {when}"));
            let mut killed = traced(&agent_dir, &format!("{call}:signal=KILL:when={when}"));
            assert!(!killed.wait().success(), "{what}");
            let left = match read_status(&agent_dir.status_file()) {
                Ok(file) => Some(file),
                Err(ReadError::Missing) => None,
                Err(error) => panic!("{what}: {error:?}"),
            };
            let _again = agent_dir.start();
            let file = read_status(&agent_dir.status_file()).unwrap();
            assert_eq!(file.previous, left.as_ref().map(|left| left.as_previous()), "{what}");
            if let Some(left) = left {
                assert_eq!(left.as_previous().ended, Ended::Unclean, "{what}");
                assert!(matches!(left.state, State::Starting | State::Running), "{what}: {left:?}");
                assert_eq!((file.incarnation, left.incarnation), (2, 1), "{what}");
                assert!(file.sequence > left.sequence, "{what}");
            }
        }
    }
}

#[requires("strace")]
#[test]
fn a_disk_error_is_a_fault_until_its_cause_is_gone() {
    let cases =
        [("write", "ENOSPC", "disk full"), ("fsync", "EIO", "check the disk"), ("renameat", "EROFS", "read-only")];
    for (call, error, word) in cases {
        let agent_dir = agent_dir();
        // From the tenth call on, ten times: long enough for the test to see the fault.
        let mut agent = traced(&agent_dir, &format!("{call}:error={error}:when=10..19"));
        agent.wait_for_state("Running");
        let degraded = agent.wait_for_state("Degraded");
        let cause = degraded["cause"].as_str().unwrap_or_default();
        assert!(cause.contains("fault status_file: ") && cause.contains(word), "{cause}");
        agent.wait_for_state("Running");
        wait_until("the file shows that it is over", || {
            read_status(&agent_dir.status_file()).is_ok_and(|file| file.state == State::Running)
        });
        let file = read_status(&agent_dir.status_file()).unwrap();
        assert!(file.faults.is_empty() && file.history.iter().any(|moved| moved.to == State::Degraded), "{file:#?}");
    }
}

#[requires("strace")]
#[test]
fn a_file_system_that_cannot_fsync_a_directory_is_noted_once_and_no_fault() {
    for error in ["EINVAL", "EOPNOTSUPP"] {
        let agent_dir = agent_dir();
        let state = agent_dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-P"]).arg(&state);
        command.args(["-e", &format!("inject=fsync:error={error}")]);
        command.args([programs::agent(), "run", "--config", "agent.yaml"]);
        command.current_dir(agent_dir.path()).env_clear();
        let mut agent = Agent::spawn(command);
        agent.wait_for_state("Running");
        wait_until("it is refreshed many times", || {
            read_status(&agent_dir.status_file()).is_ok_and(|file| file.sequence > 10)
        });
        let file = read_status(&agent_dir.status_file()).unwrap();
        assert!(file.history.iter().all(|moved| moved.to != State::Degraded), "{error}: {file:#?}");
        assert_eq!(agent.stop(), Some(0));
        let noted = |line: &&serde_json::Value| line.to_string().contains("cannot fsync a directory");
        assert_eq!(agent.rest_of_the_log().iter().filter(noted).count(), 1, "{error}");
    }
}

#[test]
fn a_removed_state_directory_is_a_fault_until_it_is_back() {
    let agent_dir = agent_dir();
    let mut agent = agent_dir.start();
    std::fs::remove_dir_all(agent_dir.path().join("state")).unwrap();
    let degraded = agent.wait_for_state("Degraded");
    assert!(
        degraded["cause"].as_str().unwrap_or_default().contains("the directory is missing: create it"),
        "{degraded}"
    );
    std::fs::create_dir(agent_dir.path().join("state")).unwrap();
    agent.wait_for_state("Running");
    wait_until("the file is back", || {
        let file = read_status(&agent_dir.status_file());
        file.is_ok_and(|file| file.faults.is_empty() && file.history.iter().any(|moved| moved.to == State::Degraded))
    });
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn killed_hundreds_of_times_at_random_the_agent_always_leaves_a_whole_file_that_only_grows() {
    let seed = env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let agent_dir = agent_dir();
    let mut last = None;
    for kill in 0..200 {
        let agent = agent_dir.spawn();
        // This does not wait for anything. It makes the kill hit another instruction each time.
        thread::sleep(Duration::from_micros(random.u64(0..40_000)));
        drop(agent);
        let now = match read_status(&agent_dir.status_file()) {
            Ok(file) => Some((file.incarnation, file.sequence)),
            Err(ReadError::Missing) => None,
            Err(error) => panic!("kill {kill}: {error:?}"),
        };
        assert!(now >= last, "kill {kill}: {last:?}, then {now:?}");
        last = now;
    }
    let _last = agent_dir.start();
    let file = read_status(&agent_dir.status_file()).unwrap();
    assert!(last.is_some_and(|(incarnation, _)| incarnation < file.incarnation), "{last:?}");
}
