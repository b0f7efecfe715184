//! How the daemon stops a process tree, and what it says about the end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use test_requirements::requires;

use super::setup::{configure, running, stand_in};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::DaemonDir;
use crate::support::programs;

/// A script that does not end by SIGTERM, and says when it is ready.
const STUBBORN: &str = "trap '' TERM\n: > ready\nwhile :; do sleep 0.1; done";

fn site(entries: impl FnOnce(&DaemonDir) -> Vec<String>) -> DaemonDir {
    let site = DaemonDir::new(&[]);
    configure(&site, 0, &entries(&site));
    site
}

/// Waits until an agent with [`STUBBORN`] ignores SIGTERM.
fn is_ready(site: &DaemonDir, id: &str) {
    let ready = site.path().join("state/agents").join(id).join("ready");
    wait_until("the script is ready", || ready.exists());
}

fn command(site: &DaemonDir, args: &[&str]) -> (Option<i32>, String) {
    let output = site.ask(args);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_agent_is_stopped_with_its_own_signal_and_killed_after_its_own_timeout() {
    let draining = "trap 'echo drained; exit 0' USR1\n: > ready\nwhile :; do sleep 0.1; done";
    let site = site(|site| {
        vec![
            stand_in(site, "draining", draining, ", stop_signal: SIGUSR1, health_check: { heartbeat_timeout: 0 }"),
            stand_in(site, "stubborn", STUBBORN, ", stop_timeout: 100ms, health_check: { heartbeat_timeout: 0 }"),
        ]
    });
    let _daemon = site.start();
    running(&site, &["draining", "stubborn"]);
    for (id, exit, wanted) in [("draining", "code", 0), ("stubborn", "signal", 9)] {
        is_ready(&site, id);
        assert_eq!(command(&site, &["stop", id]).0, Some(0));
        let agent = site.wait_for(id, "is stopped", |agent| agent["state"] == "stopped");
        assert_eq!(agent["last_exit"][exit], wanted, "{agent}");
        assert_eq!(agent["reason"]["code"], "stop_command");
    }
    let ends = |agent: &Value| agent["last_exit"]["output"].as_array().and_then(|lines| lines.last().cloned());
    site.wait_for("draining", "shows its output", |agent| ends(agent) == Some("drained".into()));
}

#[test]
fn an_agent_that_hangs_is_killed_sooner_and_the_verdict_stays_its_reason() {
    let settings = ", stop_timeout: 1h, hung_stop_timeout: 0s, health_check: { heartbeat_timeout: 5s }";
    let site = site(|site| vec![stand_in(site, "mute", STUBBORN, settings)]);
    let mut daemon = site.start();
    let first = &site.wait_for("mute", "has a process", |agent| agent["pid"].is_u64())["pid"];
    let verdict = |agent: &Value| {
        let (code, text) = (&agent["reason"]["code"], agent["reason"]["text"].as_str().unwrap_or_default());
        code == "heartbeat" && text.starts_with("no heartbeat")
    };
    let again = site.wait_for("mute", "has another process", |agent| agent["pid"].is_u64() && agent["pid"] != *first);
    assert!(verdict(&again), "{again}");
    assert_eq!(again["restarts_by_reason"]["heartbeat"], 1);
    assert_eq!((&again["last_exit"]["pid"], &again["last_exit"]["signal"]), (first, &9.into()));
    // The next daemon knows it too.
    daemon.signal(Signal::KILL);
    daemon.wait();
    let _next = site.start();
    let adopted = site.wait_for("mute", "is adopted", |agent| agent["pid"] == again["pid"]);
    assert!(verdict(&adopted) && adopted["restarts_by_reason"]["heartbeat"] == 1, "{adopted}");
}

#[test]
fn exit_codes_mean_what_the_configuration_says() {
    let entry = |site: &DaemonDir, id: &str, code: u8| {
        let codes = "success_exit_codes: [0, 3], no_restart_exit_codes: [4]";
        stand_in(site, id, &format!("exit {code}"), &format!(", restart: {{ policy: on-failure, {codes} }}"))
    };
    let site = site(|site| vec![entry(site, "success", 3), entry(site, "hopeless", 4), entry(site, "failing", 78)]);
    let _daemon = site.start();
    for (id, state, code) in [
        ("success", "stopped", "exit_success"),
        ("hopeless", "failed", "exit_no_restart"),
        ("failing", "backoff", "exit_failure"),
    ] {
        let agent = site.wait_for(id, state, |agent| agent["state"] == state);
        assert_eq!(agent["reason"]["code"], code, "{agent}");
    }
}

/// The kernel's letter for the state of a process.
fn kernel_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A disk that can be frozen, in the mount namespace of this daemon alone.
struct FrozenDisk {
    daemon: u32,
    path: PathBuf,
}

impl FrozenDisk {
    fn set(&self, how: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.daemon)).args(["fsfreeze", how]).arg(&self.path);
        assert!(command.status().unwrap().success(), "fsfreeze {how}");
    }
}

#[requires("frozen-disk")]
#[test]
fn what_sigkill_does_not_end_is_named_and_not_started_a_second_time() {
    let script = "until [ -e go ]; do sleep 0.1; done\nexec dd if=/dev/zero of=disk/file count=1";
    let settings = ", stop_timeout: 0s, health_check: { heartbeat_timeout: 0 }";
    let site = site(|site| vec![stand_in(site, "stuck", script, settings)]);
    let work_dir = site.path().join("state/agents/stuck");
    let path = work_dir.join("disk");
    fs::create_dir_all(&path).unwrap();
    let mount = "truncate -s 32M image && mkfs.ext4 -q image && mount -o loop image state/agents/stuck/disk";
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c"]).current_dir(site.path());
    command.arg(format!("{mount} && exec {} run --config daemon.yaml", programs::daemon()));
    let mut daemon = Agent::spawn(command);
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    let disk = FrozenDisk { daemon: daemon.pid(), path };
    let stuck = running(&site, &["stuck"])[0];
    disk.set("--freeze");
    let result = std::panic::catch_unwind(|| {
        fs::write(work_dir.join("go"), "").unwrap();
        wait_until("it waits for the disk", || kernel_state(stuck) == Some('D'));
        assert_eq!(site.ask(&["stop", "stuck"]).status.code(), Some(1), "it does not stop");
        let agent = site.wait_for("stuck", "has failed", |agent| agent["state"] == "failed");
        assert_eq!(agent["reason"]["code"], "unkillable");
        let cause = agent["cause"].as_str().unwrap();
        assert_eq!(cause, format!("SIGKILL does not end pid {stuck} (state D)"));
        let refused = site.ask(&["start", "stuck"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains(cause), "{said}");
    });
    disk.set("--unfreeze");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    fs::remove_file(work_dir.join("go")).unwrap();
    wait_until("it can be started again", || site.ask(&["start", "stuck"]).status.code() == Some(0));
    assert_ne!(running(&site, &["stuck"])[0], stuck);
}
