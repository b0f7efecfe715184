//! Agents that run as another user, and daemons that may not do that.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use test_requirements::requires;

use super::process_settings::{out, refused_because, report, set, site_with, validate};
use super::setup::{configure, running, stand_in};
use crate::support::agent::Agent;
use crate::support::daemon::DaemonDir;
use crate::support::programs;

/// A user that Linux distributions have. Its uid differs.
const USER: &str = "bin";

const NEVER: &str = ", restart: { policy: never }";

/// The same in a directory that other users may enter.
fn open_site(script: &str, settings: &str) -> DaemonDir {
    let site = site_with(script, settings);
    mode(site.path(), 0o711);
    site
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Owner, group and permissions.
fn access(site: &DaemonDir, path: &str) -> (u32, u32, u32) {
    let metadata = fs::symlink_metadata(site.path().join(path)).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

/// Starts the daemon where the user `web` exists, with the groups `web` and `extra`, and the group `other`.
fn start_with_users(site: &DaemonDir) -> Agent {
    let write = |name: &str, text: &str| fs::write(site.path().join(name), text).unwrap();
    write("passwd", "root:x:0:0::/root:/bin/sh\nweb:x:54321:54321::/home/of-web:\n");
    write("group", "root:x:0:\nweb:x:54321:\nextra:x:54322:web\nother:x:54323:\n");
    let mount = "mount --bind passwd /etc/passwd && mount --bind group /etc/group";
    let daemon = format!("{mount} && exec {} run --config daemon.yaml", programs::daemon());
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", &daemon]).current_dir(site.path());
    command.envs([("HOME", "/of-the-daemon"), ("LOGNAME", "of-the-daemon")]);
    let mut daemon = Agent::spawn(command);
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    daemon
}

#[requires("tmpfs")]
#[test]
fn an_agent_has_the_ids_the_variables_and_the_work_directory_of_its_user() {
    let script =
        "id -u; id -G; echo $HOME $USER $LOGNAME $SHELL; touch mine && echo writes; ls .. 2>&1 | grep -c denied";
    let site = open_site(script, ", user: web, env: { LOGNAME: own }");
    let mut daemon = start_with_users(&site);
    let pid = running(&site, &["set"])[0];
    assert_eq!(report(&site, pid), "54321\n54321 54322\n/home/of-web web own /bin/sh\nwrites\n1");
    assert_eq!(access(&site, "state/agents/set"), (54321, 54321, 0o750));
    assert_eq!(access(&site, "state/agents/set/logs"), (0, 0, 0o700));
    assert_eq!(access(&site, "state/agents/set/logs/agent.log"), (0, 0, 0o600));
    for directory in ["state", "state/agents"] {
        assert_eq!(access(&site, directory), (0, 0, 0o711), "{directory}");
    }
    for entry in fs::read_dir(site.path().join("state")).unwrap() {
        let entry = entry.unwrap();
        let (name, mode) = (entry.file_name(), entry.metadata().unwrap().mode());
        assert!(name == "agents" || mode & 0o077 == 0, "{} has mode {mode:o}", name.display());
    }
    daemon.signal(Signal::TERM);
    daemon.wait();
    let _next = start_with_users(&site);
    assert_eq!(running(&site, &["set"]), [pid], "the next daemon adopts it");
}

#[requires("tmpfs")]
#[test]
fn the_program_of_a_check_runs_as_the_user_of_the_agent() {
    let site = open_site("echo up", "");
    let script = "{ id -u; id -G; umask; echo $HOME; pwd; } >seen.new 2>&1; exec mv seen.new seen";
    let check = format!("health_check: {{ heartbeat_timeout: 0, exec: [/bin/sh, -c, \"{script}\"] }}");
    let entry = stand_in(&site, "set", "exec sleep 1000", &format!(", user: web, umask: '0027', {check}"));
    configure(&site, 0, &[entry]);
    let _daemon = start_with_users(&site);
    running(&site, &["set"]);
    let seen = fs::read_to_string(site.path().join("state/agents/set/seen")).unwrap();
    let here = site.path().canonicalize().unwrap().join("state/agents/set");
    assert_eq!(seen, format!("54321\n54321 54322\n0027\n/home/of-web\n{}\n", here.display()));
}

#[requires("tmpfs")]
#[test]
fn a_group_replaces_that_of_the_user_and_the_other_groups_stay() {
    for (settings, expected) in [
        ("user: web, group: other", "54321 54323 54323 54322"),
        ("group: other", "0 54323 54323"),
        ("user: 54321, group: 54323", "54321 54323 54323 54322"),
    ] {
        let site = open_site("echo $(id -u) $(id -g) $(id -G)", &format!(", {settings}"));
        let _daemon = start_with_users(&site);
        let pid = running(&site, &["set"])[0];
        assert_eq!(report(&site, pid), expected);
    }
}

#[requires("tmpfs")]
#[test]
fn variables_of_the_loader_take_effect_only_as_the_user() {
    let site = open_site("echo up", "");
    let trace = site.path().join("trace");
    fs::create_dir(&trace).unwrap();
    mode(&trace, 0o777);
    let variables = format!("LD_DEBUG: files, LD_DEBUG_OUTPUT: {}/of", trace.display());
    set(&site, 0, "echo up", &format!(", user: web, env: {{ {variables} }}"));
    let _daemon = start_with_users(&site);
    let pid = running(&site, &["set"])[0];
    report(&site, pid);
    let owners: Vec<u32> = fs::read_dir(&trace).unwrap().map(|file| file.unwrap().metadata().unwrap().uid()).collect();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner == 54321), "{owners:?}");
    let of_main = fs::read_to_string(trace.join(format!("of.{pid}"))).unwrap();
    assert!(of_main.contains("/bin/sh") && !of_main.contains(programs::daemon()), "{of_main}");
}

#[requires("root")]
#[test]
fn a_missing_user_is_named_and_gets_the_directory_once_the_user_exists() {
    let site = open_site("echo up", &format!(", user: no-such-user{NEVER}"));
    let daemon = site.start();
    refused_because(&site, "user no-such-user does not exist: create it, or correct `user`");
    set(&site, 0, "id -u", &format!(", user: {USER}{NEVER}"));
    daemon.signal(Signal::HUP);
    let pid = running(&site, &["set"])[0];
    assert_eq!(report(&site, pid), uid().to_string());
    assert_eq!(access(&site, "state/agents/set").0, uid());

    set(&site, 0, "id -u", &format!(", group: no-such-group{NEVER}"));
    daemon.signal(Signal::HUP);
    refused_because(&site, "group no-such-group does not exist: create it, or correct `group`");
}

#[requires("root")]
#[test]
fn a_directory_of_an_operator_is_not_given_away() {
    let site = open_site("echo up", &format!(", user: {USER}, work_dir: mine{NEVER}"));
    let directory = site.path().join("mine");
    fs::create_dir(&directory).unwrap();
    mode(&directory, 0o700);
    let _daemon = site.start();
    refused_because(&site, "mine cannot be used: permission denied");
    assert_eq!(access(&site, "mine"), (0, 0, 0o700));
}

#[requires("root")]
#[test]
fn a_limit_on_processes_that_the_user_exceeds_is_named() {
    let mut other = as_user(Command::new("sleep")).arg("1000").spawn().unwrap();
    let site = open_site("echo up", &format!(", user: {USER}, limits: {{ processes: 0 }}{NEVER}"));
    let _daemon = site.start();
    refused_because(&site, "cannot be started: raise `limits.processes`");
    other.kill().unwrap();
    other.wait().unwrap();
}

fn uid() -> u32 {
    let output = Command::new("id").args(["-u", USER]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The same command as [`USER`], without privileges.
fn as_user(mut command: Command) -> Command {
    command.uid(uid()).gid(uid());
    command
}

#[requires("root")]
#[test]
fn a_daemon_without_root_names_the_setting_that_needs_it() {
    for (setting, step) in [
        ("user: root", "become `user` and `group`"),
        ("nice: -5", "set `nice`"),
        ("oom_score_adj: -900", "set `oom_score_adj`"),
        ("limits: { locked_memory: unlimited }", "set `limits.locked_memory`"),
    ] {
        let site = site_with("echo up", &format!(", {setting}{NEVER}"));
        mode(site.path(), 0o777);
        let _daemon = Agent::spawn(as_user(site.command(&["run", "--config", "daemon.yaml"])));
        refused_because(&site, &format!("could not {step}: change the setting, or run the daemon as root"));
    }
}

#[requires("root")]
#[test]
fn validate_refuses_a_user_that_does_not_exist_or_that_needs_root() {
    let site = open_site("echo up", ", user: no-such-user, group: no-such-group");
    let refused = validate(&site);
    let text = out(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(text.contains("`agents[0].user` is `no-such-user`, a user that does not exist"), "{text}");
    assert!(text.contains("`agents[0].group` is `no-such-group`, a group that does not exist"), "{text}");
    set(&site, 0, "echo up", &format!(", user: {USER}"));
    assert_eq!(validate(&site).status.code(), Some(0), "{}", out(&validate(&site)));
    let refused = as_user(site.command(&["validate", "--config", "daemon.yaml"])).output().unwrap();
    let text = out(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(text.contains("`agents[0].user` needs root, which this user is not"), "{text}");
}
