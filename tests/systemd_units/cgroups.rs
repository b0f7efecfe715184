//! The cgroups of agents under the unit of the daemon, which systemd delegates to it.

use serde_json::Value;
use test_requirements::requires;

use super::is_running;
use super::machine::Machine;
use crate::support::agent::wait_until;

/// Leaves a process in the background: of another parent, in another session, without variables.
const TREE: &str = "#!/bin/sh\n(env -i setsid sh -c 'echo $$ >helper; exec sleep 3600' &)\nexec sleep 3601\n";

const DAEMON: &str = "daemon: { work_dir: /var/lib/ops-daemon }\n\
    agent_defaults: { health_check: { heartbeat_timeout: 0, start_grace: 0s, interval: 500ms } }\n\
    agents: [{ id: tree, binary_path: /bin/sh, args: [/etc/ops-agent/tree.sh] }]\n";

const HELPER: &str = "/var/lib/ops-daemon/agents/tree/helper";

/// The cgroup of version 2 of a process.
fn cgroup_of(machine: &Machine, pid: &str) -> String {
    let text = machine.ok(&format!("cat /proc/{pid}/cgroup"));
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// The agent runs as this process, and it and its helper are in this cgroup.
fn expect_adopted(machine: &Machine, [main, helper]: [&str; 2], cgroup: &str, after: &str) {
    machine.wait_for_agents(1, &format!("the agent is adopted after {after}"), is_running);
    assert_eq!(machine.agents()[0]["pid"].to_string(), main, "after {after}");
    for pid in [main, helper] {
        assert_eq!(cgroup_of(machine, pid), cgroup, "pid {pid} after {after}");
    }
}

#[requires("booted-systemd-cgroup2", "make")]
#[test]
fn agents_keep_their_cgroups_when_the_daemon_is_restarted_or_killed_and_a_stop_finds_each_member() {
    let machine = Machine::boot_with_cgroup2();
    machine.write("/etc/ops-agent/tree.sh", TREE);
    machine.write("/etc/ops-agent/daemon.yaml", DAEMON);
    machine.ok("systemctl start ops-daemon");
    machine.wait_for_agents(1, "the agent runs", is_running);
    wait_until("the helper runs", || machine.run(&format!("cat {HELPER}")).text.ends_with('\n'));
    let (main, helper) = (machine.agents()[0]["pid"].to_string(), machine.ok(&format!("cat {HELPER}")));
    let daemon = || machine.ok("systemctl show -P MainPID ops-daemon");
    let (cgroup, unit) = (cgroup_of(&machine, &main), machine.ok("systemctl show -P ControlGroup ops-daemon"));
    let own = cgroup.strip_prefix(&format!("{unit}/agent-"));
    assert!(own.is_some_and(|name| !name.contains('/')), "{cgroup} in {unit}");
    assert_eq!(cgroup_of(&machine, &helper), cgroup);
    assert_eq!(cgroup_of(&machine, &daemon()), format!("{unit}/daemon"));

    let before = daemon();
    machine.ok("systemctl restart ops-daemon");
    assert_ne!(daemon(), before);
    expect_adopted(&machine, [&main, &helper], &cgroup, "a restart");
    let before = daemon();
    machine.ok(&format!("kill -KILL {before}"));
    wait_until("systemd has started the daemon again", || !["0", &before].contains(&daemon().as_str()));
    expect_adopted(&machine, [&main, &helper], &cgroup, "kill -9");

    machine.ok("ops-daemon stop tree --config /etc/ops-agent/daemon.yaml");
    let agents = machine.agents();
    assert_eq!(agents.iter().map(|agent| &agent["state"]).collect::<Vec<&Value>>(), ["stopped"]);
    for pid in [main, helper] {
        assert_ne!(machine.run(&format!("kill -0 {pid}")).code, Some(0), "{pid} still runs");
    }
    let left = || machine.run(&format!("find /sys/fs/cgroup -type d -path '*{cgroup}'")).text;
    wait_until("the empty cgroup is removed", || left().is_empty());
}
