//! Agents in cgroups of their own, where one is delegated to the daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, setxattr};
use rustix::process::Signal;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{configure, free_port, kill, local, running, running_anew, stand_in};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::{DaemonDir, is_there};
use crate::support::http::request_to_host;
use crate::support::programs;

/// A cgroup for one daemon. On drop, what runs in it is killed.
struct TestCgroup(PathBuf);

impl TestCgroup {
    /// `delegated`: with the mark that systemd sets for `Delegate=yes`.
    fn new(name: &str, delegated: bool) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).unwrap();
        let root = Path::new(mount.split(' ').nth(1).unwrap());
        let cgroup = Self(root.join(format!("ops-test-{name}-{}", std::process::id())));
        fs::create_dir(&cgroup.0).unwrap();
        if delegated {
            setxattr(&cgroup.0, "trusted.delegate", b"1", XattrFlags::empty()).unwrap();
        }
        cgroup
    }

    /// Starts the daemon in it, and waits until the daemon listens.
    fn start(&self, site: &DaemonDir) -> Agent {
        self.start_below(&[], site)
    }

    /// The same with words before the command.
    fn start_below(&self, wrapper: &[&str], site: &DaemonDir) -> Agent {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0).args(wrapper);
        command.args([programs::daemon(), "run", "--config", "daemon.yaml"]);
        command.current_dir(site.path()).env_clear().stdin(Stdio::null());
        let mut daemon = Agent::spawn(command);
        daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
        daemon
    }

    /// The names of the cgroups in it, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<String> = directories.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let is_removed = || {
            self.names().iter().for_each(|name| drop(fs::remove_dir(self.0.join(name))));
            fs::remove_dir(&self.0).is_ok()
        };
        if !std::thread::panicking() {
            wait_until("the cgroup is removed", is_removed);
        }
    }
}

/// A directory whose agent `tree` leaves a process in the background: of another parent, in another session, without variables.
fn with_helper() -> DaemonDir {
    let site = DaemonDir::new(&[]);
    let helper = "(env -i setsid sh -c 'echo $$ >helper; exec sleep 3600' &)\nexec sleep 3600";
    configure(&site, 0, &[stand_in(&site, "tree", helper, ", health_check: { heartbeat_timeout: 0 }")]);
    site
}

fn helper_of(site: &DaemonDir) -> u32 {
    let read = || fs::read_to_string(site.path().join("state/agents/tree/helper")).unwrap_or_default();
    wait_until("the helper runs", || read().ends_with('\n'));
    read().trim().parse().unwrap()
}

fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

#[requires("cgroup")]
#[test]
fn the_next_daemon_finds_by_the_cgroup_what_nothing_else_shows_and_stops_it() {
    let mut scenario = Scenario::begin(
        "cgroup of an agent",
        "the agent and its daemonized helper share a cgroup; the next daemon stops the helper before it starts the agent",
    );
    let cgroup = TestCgroup::new("delegated", true);
    let site = with_helper();
    let mut daemon = cgroup.start(&site);
    let main = running(&site, &["tree"])[0];
    let helper = helper_of(&site);
    assert_eq!(cgroup_of(helper), cgroup_of(main));
    let before = cgroup.names();
    assert!(before.len() == 2 && before[0].starts_with("agent-") && before[1] == "daemon", "{before:?}");
    assert!(cgroup_of(main).ends_with(&before[0]) && cgroup_of(daemon.pid()).ends_with("/daemon"));

    daemon.signal(Signal::KILL);
    daemon.wait();
    kill(main);
    wait_until("the main process is gone", || !is_there(main));
    assert!(is_there(helper));
    fs::remove_file(site.path().join("state/agents/tree/helper")).unwrap();
    let mut daemon = cgroup.start(&site);
    let again = running_anew(&site, "tree", main);
    assert!(!is_there(helper), "a new process was started beside the old helper: {again}");
    scenario.saw("helper stopped, agent started");

    let helper = helper_of(&site);
    let names = cgroup.names();
    assert!(names.len() == 2 && names[0] != before[0], "the empty cgroup is removed: {names:?}");
    assert!(site.ask(&["shutdown"]).status.success());
    daemon.wait();
    assert!(!is_there(helper));
    assert_eq!(cgroup.names(), ["daemon"]);
    scenario.saw("no cgroup of an agent left after the shutdown");
}

#[requires("cgroup")]
#[test]
fn a_cgroup_that_is_not_delegated_is_left_alone() {
    let cgroup = TestCgroup::new("other", false);
    let site = with_helper();
    let daemon = cgroup.start(&site);
    let main = running(&site, &["tree"])[0];
    assert_eq!(cgroup.names(), [""; 0]);
    assert_eq!(cgroup_of(main), cgroup_of(daemon.pid()));
}

/// All processes fork as soon as the limit of their user lets them, so one that is killed is replaced at once.
const FORKS: &str = "
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork():
    while True:
        time.sleep(3600)
os.setsid()
while True:
    try:
        os.fork()
    except OSError:
        open('full', 'a').close()
        time.sleep(0.0005)
";

#[requires("cgroup", "python3")]
#[test]
fn what_forks_faster_than_it_is_found_does_not_outrun_a_stop() {
    let mut scenario = Scenario::begin("an agent that forks without end", "after `stop_timeout` all of it is ended");
    let cgroup = TestCgroup::new("forks", true);
    let site = DaemonDir::new(&[]);
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let settings = ", user: daemon, limits: { processes: 100 }, stop_timeout: 100ms";
    let checks = ", restart: { policy: never }, health_check: { heartbeat_timeout: 0 }";
    let script = format!("exec python3 -c \"{FORKS}\"");
    configure(&site, 0, &[stand_in(&site, "tree", &script, &format!("{settings}{checks}"))]);
    let _daemon = cgroup.start(&site);
    running(&site, &["tree"]);
    wait_until("no more processes fit", || site.path().join("state/agents/tree/full").exists());

    let stopped = site.ask(&["stop", "tree"]);
    assert!(stopped.status.success(), "{stopped:?}");
    wait_until("its empty cgroup is removed", || cgroup.names() == ["daemon"]);
    assert_eq!(site.agent("tree")["state"], "stopped");
    scenario.saw("the agent is stopped, and its cgroup is empty and removed");
}

#[requires("cgroup-kill", "pid-namespace")]
#[test]
fn what_is_in_the_cgroup_of_an_agent_is_killed_with_it_although_the_daemon_cannot_see_it() {
    let mut scenario = Scenario::begin(
        "a process of another PID namespace in the cgroup of an agent",
        "the daemon cannot see it, and kills it with the cgroup",
    );
    let cgroup = TestCgroup::new("unseen", true);
    let (site, port) = (DaemonDir::new(&[]), free_port());
    let settings = ", stop_timeout: 100ms, health_check: { heartbeat_timeout: 0 }";
    let script = "trap '' TERM\n: >deaf\nwhile :; do sleep 0.1; done";
    configure(&site, port, &[stand_in(&site, "tree", script, settings)]);
    let _daemon = cgroup.start_below(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], &site);
    running(&site, &["tree"]);
    wait_until("the agent ignores SIGTERM", || site.path().join("state/agents/tree/deaf").exists());
    let mut unseen = Command::new("sleep").arg("3600").spawn().unwrap();
    fs::write(cgroup.0.join(&cgroup.names()[0]).join("cgroup.procs"), unseen.id().to_string()).unwrap();

    // Over the socket, the daemon would not know this process either.
    assert_eq!(
        request_to_host("localhost", local(port), "POST", "/agents/tree/stop", "content-length: 0\r\n").status,
        202
    );
    wait_until("it is killed", || !is_there(unseen.id()));
    assert_eq!(unseen.wait().unwrap().signal(), Some(9));
    site.wait_for_state("tree", "stopped");
    scenario.saw("killed by signal 9");
}
