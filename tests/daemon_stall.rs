//! A daemon does not blame its agents for a stall of its own.

use std::time::Duration;

use ops_runtime::observe::read_status;
use rustix::process::Signal;

use crate::support::agent::wait_until;
use crate::support::daemon::{AgentEntry, DaemonDir, signal};

const ID: &str = "agent-001";

/// Longer than the heartbeat timeout and the maximum age of the status file.
const STALL: Duration = Duration::from_secs(5);

#[test]
fn a_stalled_daemon_holds_restarts_until_it_has_checked_again() {
    let checks = format!(
        "heartbeat_timeout: 4s, state_file: {}, state_max_age: 4s, start_grace: 1s",
        DaemonDir::status_file(ID)
    );
    let daemon_dir = DaemonDir::new(&[AgentEntry::new(ID).judged_by(&checks)]);
    daemon_dir.configure_agent(ID, "state: { refresh: 1s }\n");
    let mut daemon = daemon_dir.start();
    let pid = daemon_dir.wait_for_state(ID, "running").unwrap();
    let agent_time = || read_status(&daemon_dir.path().join(DaemonDir::status_file(ID))).unwrap().updated_boottime_ns;

    signal(daemon.pid(), Signal::STOP);
    // The stopped daemon cannot measure the time. The agent goes on, and its file shows how much has passed.
    let until = agent_time() + u64::try_from(STALL.as_nanos()).unwrap();
    wait_until("the stall is long enough", || agent_time() >= until);
    signal(daemon.pid(), Signal::CONT);

    let held = daemon.wait_for_message("restarts are held for one interval");
    assert!(held["reason"].as_str().unwrap().starts_with("the daemon itself stalled for"), "{held}");
    let heartbeats = || daemon_dir.agent(ID)["heartbeats"].as_u64().unwrap_or_default();
    let then = heartbeats();
    wait_until("heartbeats come again", || heartbeats() >= then + 5);
    let agent = daemon_dir.wait_for(ID, "is running", |agent| agent["state"] == "running");
    assert_eq!((agent["restarts"].as_u64(), daemon_dir.pid(ID)), (Some(0), Some(pid)), "{agent}");
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait().code(), Some(0));
}
