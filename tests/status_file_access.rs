//! `state.mode` and `state.group`: who may read the status file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use ops_config::agent::find_group;
use rustix::process::{Signal, getegid, geteuid};
use test_requirements::requires;

use crate::configuration::parse_alone;
use crate::support::agent::{AgentDir, wait_until};

/// A user and a group that Linux distributions have. Their numbers differ.
const OTHER: &str = "bin";

/// A group that this process may give files to, and its number.
fn group() -> (String, u32) {
    let own = getegid().as_raw();
    let name = if geteuid().is_root() { OTHER.to_owned() } else { own.to_string() };
    let number = find_group(&name).unwrap().unwrap().gid.as_raw();
    (name, number)
}

/// The permissions and the group.
fn access(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.mode() & 0o7777, metadata.gid())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The exit code of a command, and what it printed.
fn result(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn validated(agent_dir: &AgentDir) -> (Option<i32>, String) {
    result(&mut agent_dir.command(&["validate", "--config", "agent.yaml"]))
}

#[test]
fn the_status_file_has_its_mode_and_group_and_its_readers_may_enter_the_directory() {
    let (name, number) = group();
    let own = getegid().as_raw();
    for ending in ["ron", "json"] {
        for (settings, file, directory) in [
            (String::new(), (0o600, own), (0o700, own)),
            (format!("mode: '0640', group: {name}"), (0o640, number), (0o710, number)),
            (format!("mode: 0604, group: '{number}'"), (0o604, number), (0o701, number)),
            ("mode: '644'".to_owned(), (0o644, own), (0o711, own)),
            (format!("group: {name}"), (0o600, number), (0o700, number)),
        ] {
            let agent_dir = AgentDir::new(&format!("state: {{ file: above/state/tested.{ending}, {settings} }}\n"));
            let mut agent = agent_dir.start();
            let in_directory = |name: &str| access(&agent_dir.path().join("above").join(name));
            assert_eq!(in_directory(&format!("state/tested.{ending}")), file, "{settings}");
            assert_eq!(in_directory(&format!("state/tested.{ending}.lock")), (0o600, own), "{settings}");
            assert_eq!((in_directory("state"), in_directory("")), (directory, directory), "{settings}");
            assert_eq!(agent.stop(), Some(0));
            assert_eq!(in_directory(&format!("state/tested.{ending}")), file, "{settings}");
        }
    }
}

#[test]
fn a_reload_changes_mode_and_group_and_refuses_an_unknown_group() {
    let (name, number) = group();
    let agent_dir = AgentDir::new("state: { refresh: 100ms }\n");
    let mut agent = agent_dir.start();
    let file = agent_dir.status_file();
    let mut reload = |settings: &str, message: &str| {
        agent_dir.configure(&format!("state: {{ refresh: 100ms, {settings} }}\n"));
        agent.signal(Signal::HUP);
        agent.wait_for_message(message)
    };
    reload(&format!("mode: '0640', group: {name}"), "configuration reloaded");
    wait_until("the file has the new access", || access(&file) == (0o640, number));
    let refusal = reload("mode: '0644', group: no-such-group", "configuration not reloaded");
    assert!(refusal.to_string().contains("a group that does not exist"), "{refusal}");
    let refused = fs::metadata(&file).unwrap().ino();
    wait_until("the file is written again", || fs::metadata(&file).unwrap().ino() != refused);
    assert_eq!(access(&file), (0o640, number));
    reload("", "configuration reloaded");
    wait_until("the file has the default again", || access(&file) == (0o600, getegid().as_raw()));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_unknown_group_is_a_problem_of_validate_and_run() {
    let agent_dir = AgentDir::new("state: { group: no-such-group }\n");
    let refused = validated(&agent_dir);
    assert_eq!(refused.0, Some(78), "{}", refused.1);
    for part in ["agent.yaml:3:17", "`state.group` is `no-such-group`, a group that does not exist", "create the group"]
    {
        assert!(refused.1.contains(part), "no {part}: {}", refused.1);
    }
    assert_eq!(result(&mut agent_dir.command(&["run", "--config", "agent.yaml"])), refused, "run says the same");
    assert!(!agent_dir.path().join("state").exists());
}

#[test]
fn a_mode_that_is_no_mode_or_allows_too_much_or_too_little_is_refused() {
    for (mode, fact) in [
        ("'0660'", "is `0660`, which lets others write the file"),
        ("'0602'", "is `0602`, which lets others write the file"),
        ("0777", "is `0777`, which lets others write the file"),
        ("'0440'", "is `0440`, which does not let the owner read and write the file"),
        ("'0200'", "is `0200`, which does not let the owner read and write the file"),
        ("'0750'", "is `0750`, which makes the file executable"),
        ("'0608'", "is `0608`"),
        ("'4640'", "is `4640`"),
        ("640", "is the number `640`"),
        ("rw-r-----", "is `rw-r-----`"),
        ("''", "is ``"),
    ] {
        let problems = parse_alone(&format!("{{agent_id: a, state: {{mode: {mode}}}}}")).unwrap_err().to_string();
        assert!(problems.contains(&format!("`state.mode` {fact}")), "{mode}: {problems}");
        assert!(problems.contains("write `\"0600\"`, `\"0640\"`, `\"0604\"` or `\"0644\"`"), "{mode}: {problems}");
    }
}

#[test]
fn a_directory_that_the_readers_cannot_enter_is_a_warning() {
    let agent_dir = AgentDir::new("state: { mode: '0640' }\n");
    let state = agent_dir.path().join("state");
    assert!(validated(&agent_dir).1.starts_with("OK"), "a start makes a directory that they can enter");
    fs::create_dir(&state).unwrap();
    for (mode, is_closed) in [(0o700, true), (0o744, true), (0o710, false), (0o701, false)] {
        set_mode(&state, mode);
        let (code, text) = validated(&agent_dir);
        let fact = format!("lets others read the file, but only the owner may enter `{}`", state.display());
        assert_eq!((code, text.contains(&fact)), (Some(0), is_closed), "{mode:o}: {text}");
    }
    set_mode(&state, 0o700);
    agent_dir.configure("");
    assert!(validated(&agent_dir).1.starts_with("OK"), "only its owner reads it");
}

#[requires("root")]
#[test]
fn a_member_of_the_group_may_judge_the_agent_and_another_user_may_not() {
    let (name, number) = group();
    let agent_dir = AgentDir::new(&format!("state: {{ mode: '0640', group: {name} }}\n"));
    set_mode(agent_dir.path(), 0o755);
    let mut agent = agent_dir.start();
    let file = agent_dir.status_file();
    let check = |gid: u32| {
        let mut check = agent_dir.command(&["check", "--state-file", file.to_str().unwrap()]);
        // This also drops the other groups.
        check.uid(54321).gid(gid);
        result(&mut check)
    };
    let (code, text) = check(number);
    assert!(code == Some(0) && text.starts_with("OK - tested Running"), "{code:?} {text}");
    let (code, text) = check(54321);
    assert!(code == Some(3) && text.starts_with("UNKNOWN"), "{code:?} {text}");
    assert_eq!(agent.stop(), Some(0));
}

#[requires("root")]
#[test]
fn a_group_without_this_user_is_a_problem() {
    let agent_dir = AgentDir::new(&format!("state: {{ group: {OTHER} }}\n"));
    set_mode(agent_dir.path(), 0o777);
    let validate = |gid: u32| {
        let mut validate = agent_dir.command(&["validate", "--config", "agent.yaml"]);
        validate.uid(54321).gid(gid);
        result(&mut validate)
    };
    let (code, text) = validate(54321);
    assert!(code == Some(78) && text.contains("a group of which this user is not a member"), "{code:?} {text}");
    let (code, text) = validate(group().1);
    assert_eq!(code, Some(0), "{text}");
}
