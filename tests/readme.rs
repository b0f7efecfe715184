//! The README and the manual agree with the program.

use crate::support::agent::AgentDir;

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
    assert!(man.contains("lifecycle") && man.contains(".TH agent 1"), "{man}");
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
