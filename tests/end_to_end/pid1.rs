//! The daemon as PID 1 of a PID namespace, where every orphan becomes its child.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{configure, stand_in};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::DaemonDir;
use crate::support::programs;

/// How many times each program is run.
const RUNS: usize = 20;

/// Exit codes of the programs of checks, and what follows from each: the verdict, and a part of its detail.
const ENDS: [(u8, &str, &str); 4] =
    [(0, "ok", ""), (1, "noted", "warns"), (2, "bad", "finds it bad"), (7, "unknown", "exit code 7")];

fn start_as_pid_1(site: &DaemonDir) -> Agent {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", programs::daemon(), "run"]);
    command.args(["--config", "daemon.yaml"]).current_dir(site.path()).env_clear().stdin(Stdio::null());
    let mut daemon = Agent::spawn(command);
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    daemon
}

/// The check by a program of an agent: its verdict and its detail.
fn check_of(agent: &Value) -> (String, String) {
    let checks = agent["signals"].as_array().cloned().unwrap_or_default();
    let check = checks.into_iter().find(|check| check["check"] == "exec").unwrap_or_default();
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"))
}

#[requires("pid-namespace")]
#[test]
fn the_programs_of_checks_have_their_own_exit_codes_beside_the_orphans_of_others() {
    let mut scenario = Scenario::begin(
        "programs of checks below a daemon that is PID 1",
        "each run is judged by its own exit code, while the daemon reaps orphans",
    );
    let site = DaemonDir::new(&[]);
    let here = fs::canonicalize(site.path()).unwrap();
    let id = |code: u8| format!("ends-{code}");
    let mut agents: Vec<String> = ENDS
        .iter()
        .map(|(code, ..)| {
            let program = here.join(format!("check-{code}.sh"));
            // What it leaves in the background ends at about the same time.
            fs::write(&program, format!("echo >>runs; (/bin/sleep 0 &); exit {code}\n")).unwrap();
            let exec = format!("exec: [/bin/sh, {}], http_failures: 1, heartbeat_timeout: 0", program.display());
            let settings = format!(", restart: {{ policy: never }}, health_check: {{ {exec} }}");
            stand_in(&site, &id(*code), "exec /bin/sleep 3600", &settings)
        })
        .collect();
    // Each of its starts leaves orphans to PID 1.
    let leaves = "for n in 1 2 3 4 5 6 7 8; do /bin/sleep 0.05 & done; exit 1";
    let often = ", restart: { backoff_base: 100ms, backoff_max: 100ms, max_retries: 100000 }";
    agents.push(stand_in(&site, "leaves", leaves, &format!("{often}, health_check: {{ heartbeat_timeout: 0 }}")));
    configure(&site, 0, &agents);
    let _daemon = start_as_pid_1(&site);

    for (code, verdict, detail) in ENDS {
        let id = id(code);
        let is_right = |agent: &Value| {
            let (found, why) = check_of(agent);
            found == verdict && why.contains(detail)
        };
        site.wait_for(&id, &format!("is found {verdict}"), is_right);
        let runs = || fs::read(here.join("state/agents").join(&id).join("runs")).unwrap_or_default().len();
        wait_until(&format!("the program of {id} is run {RUNS} times"), || {
            let agent = site.agent(&id);
            assert!(is_right(&agent), "after {} runs: {:?}", runs(), check_of(&agent));
            runs() >= RUNS
        });
    }
    assert!(site.agent("leaves")["restarts"].as_u64() > Some(0), "there were orphans of others");
    scenario.saw(format!("{RUNS} runs of each of {} programs with the right verdict", ENDS.len()));
}
