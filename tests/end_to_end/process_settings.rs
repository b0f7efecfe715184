//! The process settings of an agent, as a process that has them sees them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::setup::{configure, daemon_dir, free_port, local, running, running_anew, stand_in};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::DaemonDir;
use crate::support::http::get;
use crate::support::programs;

/// A daemon's directory with the agent `set`, which has these settings and reports what `script` prints.
pub(super) fn site_with(script: &str, settings: &str) -> DaemonDir {
    let site = DaemonDir::new(&[]);
    set(&site, 0, script, settings);
    site
}

/// Writes the configuration with the agent `set`.
pub(super) fn set(site: &DaemonDir, port: u16, script: &str, settings: &str) {
    let script = format!("({script}) >new 2>&1\nmv new report-$$\nexec sleep 1000");
    let more = format!(", health_check: {{ heartbeat_timeout: 0 }}{settings}");
    let entry = stand_in(site, "set", &script, &more);
    configure(site, port, &[entry]);
}

/// What the process has reported.
pub(super) fn report(site: &DaemonDir, pid: u32) -> String {
    let path = site.path().join(format!("state/agents/set/report-{pid}"));
    wait_until("it has reported", || path.exists());
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Starts a daemon, and returns what its agent reports.
fn reported(script: &str, settings: &str) -> String {
    let site = site_with(script, settings);
    let _daemon = site.start();
    let pid = running(&site, &["set"])[0];
    report(&site, pid)
}

pub(super) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

pub(super) fn validate(site: &DaemonDir) -> Output {
    site.ask(&["validate"])
}

/// Waits until the daemon gives this reason for not starting the agent.
pub(super) fn refused_because(site: &DaemonDir, reason: &str) {
    site.wait_for("set", &format!("is not started: {reason}"), |agent| agent["history"].to_string().contains(reason));
}

#[test]
fn variables_come_from_the_settings_then_their_file_then_the_daemon() {
    let file = "A=file\nB=file\nC='of file'\n";
    let settings = ", env: { A: settings, N: 8080, E: \"\" }, env_file: vars";
    let site = site_with("echo $A $B $C $D $N ${E-none}.; env | grep -c '^A='", settings);
    fs::write(site.path().join("vars"), file).unwrap();
    let mut command = site.command(&["run", "--config", "daemon.yaml"]);
    command.envs([("A", "daemon"), ("B", "daemon"), ("D", "daemon"), ("PATH", "/usr/bin:/bin")]);
    let _daemon = Agent::spawn(command);
    let first = running(&site, &["set"])[0];
    assert_eq!(report(&site, first), "settings file of file daemon 8080 .\n1");

    fs::write(site.path().join("vars"), "B=changed\n").unwrap();
    assert_eq!(site.ask(&["restart", "set"]).status.code(), Some(0));
    let again = running_anew(&site, "set", first)["pid"].as_u64().unwrap();
    assert_eq!(report(&site, u32::try_from(again).unwrap()), "settings changed daemon 8080 .\n1");
}

#[test]
fn a_missing_file_of_variables_prevents_the_start_unless_it_may_be_missing() {
    assert_eq!(reported("echo up", ", env_file: -vars"), "up");

    let site = site_with("echo up", ", env_file: vars, restart: { backoff_base: 100ms, backoff_max: 100ms }");
    let mut daemon = site.start();
    let path = fs::canonicalize(site.path()).unwrap().join("vars");
    let expected =
        format!("environment file {} does not exist: create it, or write `-` before its path", path.display());
    refused_because(&site, &expected);
    fs::write(path, "A=1\nhidden\n").unwrap();
    refused_because(&site, "line 2 of environment file");
    daemon.signal(Signal::TERM);
    daemon.wait();
    let log = daemon.rest_of_the_log().iter().map(ToString::to_string).collect::<String>();
    assert!(log.contains("has no `=`") && !log.contains("hidden"), "{log}");
}

#[test]
fn a_changed_variable_restarts_the_agent_and_its_value_is_in_no_answer_and_no_log() {
    let port = free_port();
    let site = daemon_dir(port, &[]);
    let (one, other) = ("b2c4d6e8-one", "b2c4d6e8-other");
    set(&site, port, "echo $A", &format!(", env: {{ A: {one} }}"));
    let command = site.command(&["run", "--config", "daemon.yaml", "--set", "daemon.log.level=debug"]);
    let mut daemon = Agent::spawn(command);
    let first = running(&site, &["set"])[0];
    assert_eq!(report(&site, first), one);
    set(&site, port, "echo $A", &format!(", env: {{ A: {other} }}"));
    daemon.signal(Signal::HUP);
    let again = running_anew(&site, "set", first);
    assert_eq!(report(&site, u32::try_from(again["pid"].as_u64().unwrap()).unwrap()), other);
    daemon.wait_for("that the agent changed", |line| line["changed"] == "set");

    let mut texts = vec![again.to_string(), out(&validate(&site))];
    for args in [&["why", "set"][..], &["logs", "set"], &["status"]] {
        texts.push(out(&site.ask(args)));
    }
    for path in ["/agents", "/metrics", "/health", "/sd", "/"] {
        texts.push(get(local(port), path).body);
    }
    set(&site, port, "echo $A", &format!(", env: {{ A: {other} }}, unknown: 1, env_file: 7"));
    let refused = validate(&site);
    assert_eq!(refused.status.code(), Some(78), "{}", out(&refused));
    texts.push(out(&refused));
    daemon.signal(Signal::TERM);
    daemon.wait();
    texts.extend(daemon.rest_of_the_log().iter().map(ToString::to_string));
    texts.push(fs::read_to_string(site.path().join("state/registry.ron")).unwrap());
    let found: Vec<&String> = texts.iter().filter(|text| text.contains("b2c4d6e8")).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn validate_warns_of_a_file_of_variables_that_a_start_would_refuse_or_others_may_write() {
    let site = site_with("echo up", ", env_file: vars");
    let path = site.path().join("vars");
    let warned = |part: &str| {
        let output = validate(&site);
        let text = out(&output);
        assert!(output.status.success() && text.contains(part), "{text}");
    };
    warned("`agents[0].env_file` prevents each start, because environment file vars does not exist: create it");
    fs::write(&path, "A=1\n").unwrap();
    for (mode, is_warned) in [(0o600, false), (0o640, false), (0o620, true), (0o602, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let text = out(&validate(&site));
        assert_eq!(text.contains("writable by group or others: run `chmod go-w vars`"), is_warned, "{mode:o}: {text}");
    }
    fs::write(&path, "x".repeat(70_000)).unwrap();
    warned("environment file vars is larger than 64 KiB");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    warned("environment file vars is not a regular file");
}

#[test]
fn a_process_has_the_attributes_of_its_settings() {
    let limits = "open_files: 100, processes: 5000, core: 0, address_space: 8589934592, file_size: 10485760, \
                  locked_memory: 4096";
    let settings = format!(", umask: \"0027\", nice: 7, oom_score_adj: 300, limits: {{ {limits} }}");
    let script = "umask; >made; stat -c %a made; nice; cat /proc/self/oom_score_adj; sed 's/  */ /g' /proc/self/limits";
    let seen = reported(script, &settings);
    assert!(seen.starts_with("0027\n640\n7\n300\n"), "{seen}");
    for limit in [
        "Max open files 100 100 ",
        "Max processes 5000 5000 ",
        "Max core file size 0 0 ",
        "Max address space 8589934592 8589934592 ",
        "Max file size 10485760 10485760 ",
        "Max locked memory 4096 4096 ",
    ] {
        assert!(seen.lines().any(|line| line.starts_with(limit)), "{limit} is not in {seen}");
    }
}

#[test]
fn what_is_not_set_is_that_of_the_daemon_and_a_nice_value_is_absolute() {
    for (settings, expected) in [("", "4 0003"), (", nice: 6, umask: 077", "6 0077")] {
        let site = site_with("echo $(nice) $(umask)", settings);
        let daemon = format!("umask 003; exec nice -n 4 {} run --config daemon.yaml", programs::daemon());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &daemon]).current_dir(site.path());
        let _daemon = Agent::spawn(command);
        let pid = running(&site, &["set"])[0];
        assert_eq!(report(&site, pid), expected);
    }
}

#[test]
fn a_setting_that_the_kernel_refuses_is_named() {
    let never = ", restart: { policy: never }";
    // Above `fs.nr_open`, also for root.
    let site = site_with("echo up", &format!(", limits: {{ open_files: 4000000000 }}{never}"));
    let _daemon = site.start();
    refused_because(
        &site,
        "its launcher could not set `limits.open_files`: change the setting, or run the daemon as root",
    );
}
