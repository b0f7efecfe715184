//! The shipped units and files, as `make install` installs them, in a real systemd.

mod cgroups;
mod install;
mod machine;

use std::fs;
use std::path::Path;

use serde_json::Value;
use test_requirements::requires;

use self::machine::Machine;
use crate::support::agent::wait_until;

/// The agent of a unit, on a port that the agents of the shipped daemon.yaml do not use. `check` runs inside of the unit.
const DROP_IN: &str = "[Service]\nEnvironment=AGENT_HTTP_PORT=8090\n\
    ExecStartPost=/usr/local/bin/ops-agent check --config /etc/ops-agent/agent.yaml\n";

/// A machine in which the unit of an agent has the drop-in.
fn booted() -> Machine {
    let machine = Machine::boot();
    machine.write("/etc/systemd/system/ops-agent@agent.service.d/test.conf", DROP_IN);
    machine.ok("systemctl daemon-reload");
    machine
}

fn is_running(agent: &Value) -> bool {
    agent["state"] == "running" && agent["restarts"] == 0
}

/// Whether the process, heartbeats, endpoint and status file of an agent were found to be good.
fn is_proved(agent: &Value) -> bool {
    let checks = agent["signals"].as_array().unwrap();
    let good = checks.iter().filter(|check| check["verdict"] == "ok").count();
    is_running(agent) && good >= 4 && agent["heartbeats"].as_u64() > Some(0)
}

/// Whether agent `a` runs, and another one is stopped.
fn is_as_wanted(agent: &Value) -> bool {
    agent["state"] == if agent["agent_id"] == "a" { "running" } else { "stopped" }
}

fn pids(agents: &[Value]) -> Vec<String> {
    agents.iter().map(|agent| agent["pid"].to_string()).collect()
}

#[requires("booted-systemd", "make")]
#[test]
fn the_shipped_units_run_the_shipped_files() {
    let machine = booted();
    let verified = machine.ok("systemd-analyze verify --man=no ops-agent@agent.service ops-daemon.service");
    assert!(!verified.contains("ops-"), "{verified}");
    machine.ok("systemctl start ops-agent@agent ops-daemon");
    assert!(machine.is_active("ops-agent@agent") && machine.is_active("ops-daemon"));
    machine.wait_for_agents(3, "each check of the three agents is good", is_proved);
    assert!(machine.agents().iter().all(is_running), "{:?}", machine.agents());

    let owner = |path: &str| machine.ok(&format!("stat -c '%U %a' {path}"));
    assert_eq!(owner("/var/lib/ops-agent/agent"), "ops-agent 750");
    assert_eq!(owner("/var/lib/ops-agent/agent/agent-001.ron"), "ops-agent 600");
    assert_eq!(owner("/var/lib/ops-daemon"), "root 700");
    assert_eq!(owner("/var/lib/ops-daemon/agents/agent-001/state/agent-001.ron"), "root 600");
    assert!(!machine.path("/var/lib/ops-agent/agents").exists());

    let agents = pids(&machine.agents());
    let first = &agents[0];
    assert_eq!(machine.ok(&format!("grep NoNewPrivs /proc/{first}/status")), "NoNewPrivs:\t0");
    let unit = machine.ok("systemctl show -P MainPID ops-agent@agent");
    for pid in [first, &unit] {
        let core = machine.ok(&format!("grep 'Max core file size' /proc/{pid}/limits"));
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
}

#[requires("booted-systemd", "make")]
#[test]
fn check_finds_the_file_of_the_unit_and_says_who_may_read_it() {
    let machine = booted();
    machine.ok("systemctl start ops-agent@agent");
    let check = "ops-agent check --config /etc/ops-agent/agent.yaml";
    assert!(machine.ok(check).starts_with("OK - agent-001 Running"));
    assert!(machine.ok("ops-agent check").starts_with("OK - agent-001 Running"));
    let as_user = |user: &str| machine.run(&format!("setpriv --reuid={user} --clear-groups {check}"));
    assert_eq!(as_user("ops-agent").code, Some(0));
    let refused = as_user("reader");
    assert_eq!(refused.code, Some(3), "{}", refused.text);
    assert!(refused.text.contains("run the command as root or as the agent's user"), "{}", refused.text);
    assert!(refused.text.contains("(/var/lib/ops-agent/agent/agent-001.ron)"), "{}", refused.text);
    machine.ok("systemctl stop ops-agent@agent");
    assert!(machine.run(check).text.starts_with("CRITICAL - agent-001 Stopped"));
}

#[requires("booted-systemd", "make")]
#[test]
fn a_reload_with_a_wrong_file_fails_and_the_journal_shows_the_error() {
    let machine = booted();
    machine.ok("systemctl start ops-agent@agent ops-daemon");
    for (unit, file) in [("ops-agent@agent", "agent.yaml"), ("ops-daemon", "daemon.yaml")] {
        let file = format!("/etc/ops-agent/{file}");
        let right = fs::read_to_string(machine.path(&file)).unwrap();
        let pid = machine.ok(&format!("systemctl show -P MainPID {unit}"));
        machine.ok(&format!("systemctl reload {unit}"));
        machine.write(&file, &format!("{right}nonsense: 1\n"));
        let refused = machine.run(&format!("systemctl reload {unit}"));
        assert_ne!(refused.code, Some(0), "{}", refused.text);
        machine.write(&file, &right);
        machine.ok(&format!("systemctl reload {unit}"));
        assert!(machine.is_active(unit));
        assert_eq!(machine.ok(&format!("systemctl show -P MainPID {unit}")), pid, "the process goes on");
        machine.ok("journalctl --sync");
        let errors = machine.ok(&format!("journalctl -u {unit} -p err --no-pager -o cat"));
        assert!(errors.contains("error: `nonsense` is not a key\n"), "{errors}");
        let lines = machine.ok(&format!("journalctl -u {unit} -p info --no-pager -o cat"));
        assert!(lines.contains("\n{\"timestamp\""), "{lines}");
        assert!(!lines.contains("<6>"), "{lines}");
    }
}

#[requires("booted-systemd", "make", "curl")]
#[test]
fn a_request_to_the_socket_unit_starts_the_agent_each_time() {
    let machine = Machine::boot();
    let verified = machine.ok("systemd-analyze verify --man=no ops-agent@agent.socket");
    assert!(!verified.contains("ops-"), "{verified}");
    machine.ok("systemctl start ops-agent@agent.socket");
    // The end of an agent leaves the socket as it is.
    for _ in 0..2 {
        assert!(!machine.is_active("ops-agent@agent"));
        let answer = machine.ok("curl -s --max-time 60 http://127.0.0.1:8081/health");
        assert!(answer.contains("\"agent_id\":\"agent-001\""), "{answer}");
        wait_until("the unit of the agent is active", || machine.is_active("ops-agent@agent"));
        machine.ok("systemctl stop ops-agent@agent");
    }
}

#[requires("booted-systemd", "make")]
#[test]
fn agents_outlive_a_stop_of_the_daemon_and_end_with_its_shutdown() {
    let machine = Machine::boot();
    machine.ok("systemctl start ops-daemon");
    machine.wait_for_agents(3, "three agents run", is_running);
    let agents = pids(&machine.agents());
    machine.ok("systemctl stop ops-daemon");
    assert!(!machine.is_active("ops-daemon"));
    machine.ok(&format!("kill -0 {}", agents.join(" ")));
    machine.ok("systemctl start ops-daemon");
    machine.wait_for_agents(3, "three agents are adopted", is_running);
    assert_eq!(pids(&machine.agents()), agents);
    machine.ok("ops-daemon shutdown --config /etc/ops-agent/daemon.yaml");
    wait_until("the unit has ended", || !machine.is_active("ops-daemon"));
    assert_eq!(machine.ok("systemctl show -P Result ops-daemon"), "success");
    for pid in agents {
        assert_ne!(machine.run(&format!("kill -0 {pid}")).code, Some(0), "{pid} still runs");
    }
}

#[requires("booted-systemd", "make")]
#[test]
fn the_example_of_a_strict_drop_in_runs_the_shipped_agents() {
    let machine = Machine::boot();
    let drop_ins = "/etc/systemd/system/ops-daemon.service.d";
    machine
        .ok(&format!("install -D -m 644 /usr/local/share/doc/ops-agent/ops-daemon-strict.conf {drop_ins}/strict.conf"));
    machine.ok("systemctl daemon-reload");
    let verified = machine.ok("systemd-analyze verify --man=no ops-daemon.service");
    assert!(!verified.contains("ops-"), "{verified}");
    machine.ok("systemctl start ops-daemon");
    machine.wait_for_agents(3, "three agents run", is_running);
    for pid in pids(&machine.agents()) {
        assert_eq!(machine.ok(&format!("grep NoNewPrivs /proc/{pid}/status")), "NoNewPrivs:\t1");
    }
}

#[requires("booted-systemd", "make")]
#[test]
fn agents_behind_wrappers_run_under_the_unit_of_the_daemon() {
    let wrappers = [
        ("shell", "/bin/sh, -c, 'ops-agent run --config \"$0\"; exit $?'"),
        ("timeout", "/usr/bin/timeout, \"1000\", ops-agent, run, --config"),
        ("nice", "/usr/bin/nice, -n, \"5\", ops-agent, run, --config"),
        ("chrt", "/usr/bin/chrt, --idle, \"0\", ops-agent, run, --config"),
        ("setarch", "/usr/bin/setarch, --addr-no-randomize, ops-agent, run, --config"),
        ("unshare", "/usr/bin/unshare, --pid, --fork, ops-agent, run, --config"),
        ("setpriv", "/usr/bin/setpriv, --inh-caps=-all, ops-agent, run, --config"),
    ];
    let machine = Machine::boot();
    let mut daemon = "daemon: { work_dir: /var/lib/ops-daemon }\nagents:\n".to_owned();
    for (id, command) in wrappers {
        let config = format!("/etc/ops-agent/{id}.yaml");
        let (program, args) = command.split_once(", ").unwrap();
        daemon += &format!("  - {{ id: {id}, binary_path: {program}, args: [{args}, {config}],\n");
        daemon += &format!("      health_check: {{ state_file: /var/lib/ops-daemon/agents/{id}/state/{id}.ron, ");
        daemon += "start_grace: 1s, interval: 500ms } }\n";
        let heartbeat = "{ url: \"unix:///var/lib/ops-daemon/daemon.sock\", interval: 500ms }";
        machine.write(&config, &format!("agent_id: {id}\nhttp: {{ port: 0 }}\nheartbeat: {heartbeat}\n"));
    }
    machine.write("/etc/ops-agent/daemon.yaml", &daemon);
    machine.ok("systemctl start ops-daemon");
    let is_proved = |agent: &Value| is_running(agent) && agent["heartbeats"].as_u64() > Some(5);
    wait_until("each wrapped agent runs and sends heartbeats", || {
        let agents = machine.agents();
        assert!(agents.iter().all(|agent| agent["restarts"] == 0), "{agents:#?}");
        agents.len() == wrappers.len() && agents.iter().all(is_proved)
    });
}

#[requires("booted-systemd", "make")]
#[test]
fn state_under_the_old_unit_names_is_moved() {
    let machine = Machine::boot();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd_units/old");
    for unit in ["agent@.service", "daemon.service"] {
        // The old names of the programs are not installed.
        let text = fs::read_to_string(old.join(unit)).unwrap().replace("/usr/local/bin/", "/usr/local/bin/ops-");
        machine.write(&format!("/etc/systemd/system/{unit}"), &text);
    }
    machine.write("/etc/ops-agent/web.yaml", "agent_id: web\nhttp: { port: 0 }\n");
    let agents = ["a", "b"].map(|id| format!("  - {{ id: {id}, binary_path: /usr/bin/sleep, args: [\"1000\"] }}\n"));
    let checks = "agent_defaults: { health_check: { heartbeat_timeout: 0, start_grace: 0s, interval: 500ms } }\n";
    let daemon = format!("daemon: {{ work_dir: state }}\n{checks}agents:\n{}", agents.concat());
    machine.write("/etc/ops-agent/daemon.yaml", &daemon);
    machine.ok("systemctl daemon-reload && systemctl start agent@web && systemctl stop agent@web");
    machine
        .ok("systemctl start daemon && cd /var/lib/ops-agent && ops-daemon stop b --config /etc/ops-agent/daemon.yaml");
    machine.wait_for_agents(2, "one agent runs and one is stopped", is_as_wanted);
    let before = machine.agents();

    let refused = machine.run("systemctl start ops-daemon");
    assert_ne!(refused.code, Some(0));
    let journal = machine.ok("journalctl --sync; journalctl -u ops-daemon --no-pager -o cat");
    assert!(journal.contains("run `systemctl disable --now daemon.service` first"), "{journal}");
    assert!(machine.path("/var/lib/ops-agent/state/registry.ron").exists());

    machine.ok("systemctl disable --now daemon; systemctl reset-failed && systemctl start ops-daemon");
    machine.wait_for_agents(2, "one agent runs and one is stopped", is_as_wanted);
    // The work directory of the agent has another path now, so it is restarted once. There is never a second process.
    let adopted = format!(r#""event":"Adopted","cause":"pid {} adopted""#, before[0]["pid"]);
    let journal = machine.ok("journalctl --sync; journalctl -u ops-daemon --no-pager -o cat");
    assert!(journal.contains(&adopted), "{adopted}\n{journal}");
    assert_eq!(machine.ok("pgrep --count --exact sleep"), "1");
    assert!(machine.path("/var/lib/ops-daemon/state/registry.ron").exists());
    assert!(machine.path("/var/lib/ops-daemon/state/starts/a.ron").exists());

    machine.ok("systemctl start ops-agent@web");
    assert!(machine.ok("ops-agent status --config /etc/ops-agent/web.yaml").contains("incarnation 2,"));
    assert_eq!(machine.ok("stat -c '%U %F' /var/lib/ops-agent/web"), "ops-agent directory");
    // A second start finds nothing to move.
    machine.ok("systemctl restart ops-daemon");
    assert!(machine.path("/var/lib/ops-agent/web/web.ron").exists());
}
