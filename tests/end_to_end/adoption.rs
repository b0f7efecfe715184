//! A daemon dies, and the next one adopts its agents.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ops_agent::testing::daemon::registry::{decode, encode};
use rustix::process::Signal;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{configure_ours, daemon_dir, kill, ours, running};
use crate::support::agent::{Agent, wait_until};
use crate::support::programs;

const IDS: [&str; 6] = ["one", "two", "three", "four", "died", "recycled"];

/// Sends every kind of query to the daemon's socket in a loop. A missing daemon is no error.
fn keep_asking(socket: &Path, enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        let Ok(mut stream) = UnixStream::connect(socket) else {
            std::thread::sleep(std::time::Duration::from_millis(5));
            continue;
        };
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        let ask = |stream: &mut UnixStream| writeln!(stream, r#"{{"jsonrpc":"2.0","id":1,"method":"agents"}}"#);
        while !enough.load(Ordering::Relaxed) && ask(&mut stream).is_ok() {
            let Some(Ok(_)) = answers.next() else { break };
        }
    }
}

/// Simulates that the kernel has given the agent's pid to another process.
fn record_other_pid(registry: &Path, id: &str, pid: u32) {
    let mut saved = decode(&fs::read_to_string(registry).unwrap()).unwrap();
    saved.agents.get_mut(id).unwrap().machine.process.as_mut().unwrap().pid = pid;
    fs::write(registry, encode(&saved).unwrap()).unwrap();
}

#[test]
fn after_a_kill_under_load_each_agent_is_adopted_once_and_other_processes_are_left_alone() {
    let mut scenario = Scenario::begin(
        "daemon killed and restarted under load",
        "agents adopted with the same pids, none restarted, none twice; one that ended meanwhile is restarted; a \
         foreign process with a recorded pid is not touched",
    );
    let daemon_dir = daemon_dir(0, &IDS.map(|id| ours(id, "")));
    IDS.iter().for_each(|id| configure_ours(&daemon_dir, id, 0, ""));
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &IDS);
    let enough = Arc::new(AtomicBool::new(false));
    let load = [(); 2].map(|()| {
        let (socket, enough) = (daemon_dir.socket(), Arc::clone(&enough));
        std::thread::spawn(move || keep_asking(&socket, &enough))
    });
    let registry = daemon_dir.path().join("state/registry.ron");
    // If the daemon dies earlier, the next one finds its agents by their tag.
    wait_until("the last agent is on record", || {
        fs::read_to_string(&registry).is_ok_and(|text| {
            decode(&text).is_ok_and(|saved| saved.agents.get("recycled").is_some_and(|it| it.machine.process.is_some()))
        })
    });
    daemon.signal(Signal::KILL);
    daemon.wait();
    before[4..].iter().for_each(|&pid| kill(pid));
    wait_until("four are left", || daemon_dir.survivors().len() == 4);
    let mut sleep = Command::new("sleep");
    sleep.arg("3600").stdin(Stdio::null());
    let foreign = Agent::spawn(sleep);
    record_other_pid(&registry, "recycled", foreign.pid());

    let since = Instant::now();
    let mut daemon = daemon_dir.start();
    scenario.saw(format!("listening after {:.2} s", since.elapsed().as_secs_f64()));
    // Adoptions are logged after the number of agents found.
    let known = daemon
        .seen
        .iter()
        .find(|line| line["message"] == "agents loaded")
        .expect("the log names the agents that it found");
    assert_eq!(known["running"], 4, "{known}");
    for _ in 0..4 {
        daemon.wait_for_message("process adopted");
    }
    scenario.saw(format!("4 adopted after {:.2} s", since.elapsed().as_secs_f64()));
    let after = running(&daemon_dir, &IDS);
    enough.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|load| load.join().unwrap());
    assert_eq!(after[..4], before[..4]);
    for (id, restarts) in IDS.iter().zip([0, 0, 0, 0, 1, 1]) {
        assert_eq!(daemon_dir.agent(id)["restarts"], restarts, "{id}");
    }
    assert!(!before.contains(&after[4]) && !before.contains(&after[5]) && after[5] != foreign.pid());
    assert_eq!(daemon_dir.survivors().len(), IDS.len(), "none is there twice");
    let command_line = fs::read(format!("/proc/{}/cmdline", foreign.pid())).unwrap();
    assert!(command_line.starts_with(b"sleep"), "the foreign process was not touched");
    scenario.saw("same pids, no restart; the two others started again; the foreign process still runs");
}

#[requires("tmpfs")]
#[test]
fn an_agent_whose_process_is_hidden_is_not_started_a_second_time() {
    let site = daemon_dir(0, &[ours("hidden", "")]);
    configure_ours(&site, "hidden", 0, "");
    let mut first = site.start();
    let pid = running(&site, &["hidden"])[0];
    first.signal(Signal::KILL);
    first.wait();

    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c"]).current_dir(site.path());
    let daemon = programs::daemon();
    command.arg(format!("mount -t tmpfs tmpfs /proc/{pid} && exec {daemon} run --config daemon.yaml"));
    let mut second = Agent::spawn(command);
    second.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    let refused = site.ask(&["start", "hidden"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains(&format!("/proc hides pid {pid}")), "{said}");
    let status = String::from_utf8(site.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("unknown whether its process is alive") && status.contains("fault"), "{status}");

    let mut show = Command::new("nsenter");
    show.arg(format!("--mount=/proc/{}/ns/mnt", second.pid())).args(["umount", &format!("/proc/{pid}")]);
    assert!(show.status().unwrap().success());
    assert_eq!(running(&site, &["hidden"]), [pid]);
    assert_eq!(site.agent("hidden")["restarts"], 0);
}
