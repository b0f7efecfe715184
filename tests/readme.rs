//! The README and the manual agree with the program.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::programs;

const README: &str = include_str!("../README.md");

fn printed(args: &[&str]) -> String {
    let output = AgentDir::new("").command(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_diagram_is_the_machines() {
    let diagram = printed(&["lifecycle", "--format", "mermaid"]);
    assert!(README.contains(&format!("```mermaid\n{diagram}```")), "put this into the README:\n{diagram}");
}

#[test]
fn every_command_is_in_the_readme() {
    for command in ["run", "validate", "check", "status", "schema", "lifecycle", "completions", "man"] {
        assert!(README.contains(&format!("`agent {command}`")), "agent {command}");
        assert!(printed(&["--help"]).contains(&format!("\n  {command} ")), "agent {command}");
    }
}

#[test]
fn completions_and_man_page_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("lifecycle"), "{shell}");
    }
    let man = printed(&["man"]);
    assert!(man.contains("lifecycle") && man.contains(".TH AGENT 1"), "{man}");
}

#[test]
fn help_man_page_and_completions_follow_the_name_of_the_program() {
    let directory = tempfile::tempdir().unwrap();
    for (built_as, program) in [("agent", programs::agent()), ("daemon", programs::daemon())] {
        let name = format!("ops-{built_as}");
        let installed = directory.path().join(&name);
        symlink(program, &installed).unwrap();
        let printed = |args: &[&str]| {
            let output = Command::new(&installed).args(args).current_dir(directory.path()).output().unwrap();
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
        };
        let has = |args: &[&str], part: &str| {
            let text = printed(args);
            assert!(text.contains(part), "{args:?}: {part}\n{text}");
            assert!(!text.contains(&format!("`{built_as} ")), "{args:?}\n{text}");
        };
        has(&["--help"], &format!("Usage: {name} ["));
        has(&["run", "--help"], &format!("Usage: {name} run"));
        has(&["--nonsense"], &format!("Usage: {name} ["));
        has(&["--version"], &format!("{name} 0."));
        has(&["man"], &format!(".TH {} 1", name.to_uppercase()));
        has(&["completions", "bash"], &format!("default {name}\n"));
        has(&["completions", "zsh"], &format!("#compdef {name}\n"));
        has(&["completions", "fish"], &format!("complete -c {name} "));
        has(
            &["status", "--config", "missing.yaml"],
            if built_as == "agent" { "`ops-agent validate" } else { "error: " },
        );
        has(&["run", "--config", "missing.yaml"], "error: ");
    }
    let installed = directory.path().join("ops-daemon");
    let output = Command::new(installed).args(["status", "--socket", "/nowhere/daemon.sock"]).output().unwrap();
    assert!(output.stderr.starts_with(b"ops-daemon: "), "{output:?}");
}

#[test]
fn a_running_daemon_says_the_name_it_was_started_with() {
    let failing = AgentEntry::new("one").with("restart: { max_retries: 0 }");
    let daemon_dir = DaemonDir::new(&[failing]);
    daemon_dir.configure_agent("one", "log: { level: none }\n");
    let installed = daemon_dir.path().join("ops-daemon");
    symlink(programs::daemon(), &installed).unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(&installed);
        command.args(args).args(["--config", "daemon.yaml"]).current_dir(daemon_dir.path()).env_clear();
        command
    };
    let mut daemon = Agent::spawn(command(&["run"]));
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    let failed = daemon_dir.wait_for("one", "is given up", |agent| agent["state"] == "failed");
    assert!(failed["why"].as_str().unwrap().ends_with("; `ops-daemon start` runs it again"), "{failed}");
    let answer = String::from_utf8(command(&["stop", "two"]).output().unwrap().stderr).unwrap();
    assert!(answer.contains("there is no agent \"two\": `ops-daemon status` lists all agents"), "{answer}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_table_names_every_event() {
    use statemachine::lifecycle::Lifecycle;
    use statemachine::table::Table as _;
    let table = printed(&["lifecycle"]);
    for event in Lifecycle::EVENTS {
        assert!(table.contains(&format!("\n{event:?} ")), "{event:?} is not in\n{table}");
    }
}

/// What is the same in each translation, in order: code blocks, levels of headings, and the code and the links in the first cells
/// of tables.
fn skeleton(text: &str) -> Vec<String> {
    let (mut lines, mut in_block) = (Vec::new(), false);
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let cell = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        if is_fence || in_block {
            lines.push(line.to_owned());
        } else if level > 0 {
            lines.push("#".repeat(level));
        } else if let Some(cell) = cell {
            lines.extend(cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
            lines.extend(cell.split("](").skip(1).map(|link| link.split(')').next().unwrap_or_default().to_owned()));
        }
        in_block ^= is_fence;
    }
    lines
}

#[test]
fn the_chinese_readme_has_the_same_commands_and_headings() {
    let chinese = include_str!("../README.zh-CN.md");
    assert_eq!(skeleton(chinese), skeleton(README));
    assert!(skeleton(README).iter().filter(|line| line.starts_with('#')).count() > 5, "the README has headings");
    assert!(README.contains("](README.zh-CN.md)") && chinese.contains("](README.md)"), "each leads to the other");
}
