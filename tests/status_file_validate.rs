//! `agent validate` says what a start would say about the place of the status file, and changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use test_requirements::requires;

use crate::support::agent::AgentDir;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The exit code of a command with this configuration, its output and its errors.
fn result(agent_dir: &AgentDir, command: &str, user: Option<u32>) -> (Option<i32>, String, String) {
    let mut command = agent_dir.command(&[command, "--config", "agent.yaml"]);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Both commands refuse the file, with the same words. `validate` comes first, and leaves the obstacle as it is.
fn assert_refused(agent_dir: &AgentDir, user: Option<u32>, fact: &str) {
    let (code, output, of_validate) = result(agent_dir, "validate", user);
    assert_eq!((code, output.as_str()), (Some(78), ""), "{of_validate}");
    assert!(of_validate.contains(fact), "no {fact}: {of_validate}");
    let (code, _, of_run) = result(agent_dir, "run", user);
    assert_eq!((code, of_run), (Some(1), of_validate));
}

#[test]
fn validate_refuses_the_place_that_a_start_refuses_with_the_same_words() {
    type Make = fn(&Path);
    let cases: [(Make, &str, &str); 6] = [
        (|top| fs::write(top.join("state"), "").unwrap(), "", "state cannot be used: not a directory"),
        (|top| fs::write(top.join("a"), "").unwrap(), ", file: a/b/c.ron", "a/b cannot be used: not a directory"),
        (|top| symlink("gone", top.join("state")).unwrap(), "", "state cannot be used"),
        (|top| fs::create_dir_all(top.join("state/tested.ron")).unwrap(), "", "tested.ron is no regular file"),
        (
            |top| fs::create_dir_all(top.join("state/tested.ron.lock")).unwrap(),
            "",
            "tested.ron.lock is no regular file",
        ),
        (open_directory, ", strict: true", "state is writable by group or others (mode 0777)"),
    ];
    for (make, settings, fact) in cases {
        let agent_dir = AgentDir::new(&format!("state: {{ refresh: 10s{settings} }}\n"));
        make(agent_dir.path());
        assert_refused(&agent_dir, None, fact);
    }
}

fn open_directory(top: &Path) {
    fs::create_dir(top.join("state")).unwrap();
    set_mode(&top.join("state"), 0o777);
}

#[test]
fn a_pipe_in_the_place_of_the_status_file_is_refused_and_does_not_block() {
    let agent_dir = AgentDir::new("");
    fs::create_dir(agent_dir.path().join("state")).unwrap();
    assert!(Command::new("mkfifo").arg(agent_dir.status_file()).status().unwrap().success());
    assert_refused(&agent_dir, None, "tested.ron is no regular file");
}

#[requires("root")]
#[test]
fn a_directory_that_this_user_may_not_write_or_make_is_refused() {
    let user = Some(54321);
    let agent_dir = AgentDir::new("");
    set_mode(agent_dir.path(), 0o755);
    assert_refused(&agent_dir, user, "state cannot be used: permission denied");
    let state = agent_dir.path().join("state");
    fs::create_dir(&state).unwrap();
    for mode in [0o755, 0o700] {
        set_mode(&state, mode);
        assert_refused(&agent_dir, user, "state cannot be used: permission denied");
    }
    set_mode(&state, 0o777);
    fs::write(state.join("tested.ron.lock"), "").unwrap();
    set_mode(&state.join("tested.ron.lock"), 0o600);
    assert_refused(&agent_dir, user, "state cannot be used: permission denied");
    fs::remove_file(state.join("tested.ron.lock")).unwrap();
    assert_eq!(result(&agent_dir, "validate", user).0, Some(0));
}

#[test]
fn validate_makes_nothing_and_warns_of_an_open_directory_as_a_start_does() {
    let agent_dir = AgentDir::new("");
    let ok = (Some(0), "OK - agent.yaml is valid, for agent tested\n".to_owned(), String::new());
    assert_eq!(result(&agent_dir, "validate", None), ok);
    assert!(!agent_dir.path().join("state").exists());
    let mut agent = agent_dir.start();
    assert_eq!(result(&agent_dir, "validate", None), ok, "the lock is not asked for");
    assert_eq!(agent.stop(), Some(0));
    set_mode(&agent_dir.path().join("state"), 0o777);
    let (code, output, _) = result(&agent_dir, "validate", None);
    assert_eq!(code, Some(0));
    let mut lines = output.lines();
    let note = lines.next().and_then(|line| line.strip_prefix("note: ")).expect("a note").to_owned();
    assert!(note.contains("is writable by group or others (mode 0777)"), "{note}");
    assert_eq!(lines.next(), Some("OK - agent.yaml is valid, for agent tested"));
    let mut agent = agent_dir.spawn();
    agent.wait_for_message(&note);
    assert_eq!(agent.stop(), Some(0));
}
