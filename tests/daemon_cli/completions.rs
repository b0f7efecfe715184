//! Completions, by completing in real shells, and man pages.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use test_requirements::requires;

use crate::support::agent::wait_until;
use crate::support::daemon_api::DaemonApi;
use crate::support::programs;
use crate::support::terminal::{Terminal, plain};

use super::{stderr, stdout};

/// A directory with the programs under the names that `make install` gives them.
fn installed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    symlink(programs::daemon(), directory.path().join("ops-daemon")).unwrap();
    symlink(programs::agent(), directory.path().join("ops-agent")).unwrap();
    fs::write(directory.path().join("daemon.yaml"), "agents: []\n").unwrap();
    directory
}

/// A shell in this directory, in which the programs are found.
fn shell(directory: &Path, shell: &str, args: &[&str]) -> Command {
    let mut command = Command::new(shell);
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(args).current_dir(directory).env("PATH", format!("{}:{path}", directory.display()));
    command.env("TERM", "xterm").env("HOME", directory).env("PS1", "> ");
    command
}

fn wait_for(terminal: &Terminal, text: &str) {
    wait_until(&format!("{text:?} in {}", plain(&terminal.printed())), || plain(&terminal.printed()).contains(text));
}

#[test]
fn bash_completes_ids_files_and_levels() {
    let (api, directory) = (DaemonApi::start(1), installed());
    let socket = api.socket.display();
    let mut terminal = Terminal::run(shell(directory.path(), "bash", &["--norc", "--noprofile", "-i"]), 200, 50);
    terminal.press("source <(ops-daemon completions bash); source <(ops-agent completions bash); echo read''y\n");
    wait_for(&terminal, "ready");
    terminal.press(&format!("ops-daemon status --socket {socket} ag\t\n"));
    wait_for(&terminal, "starting");
    terminal.press("echo; ops-daemon validate dae\t\n");
    wait_for(&terminal, "daemon.yaml is valid");
    terminal.press(&format!("ops-daemon stop --socket {socket} al\t--wait 0s\n"));
    wait_for(&terminal, "stop queued for agent-0");
    terminal.press("ops-daemon status --sor\tcpu --output js\t --help | wc -l\n");
    wait_for(&terminal, "--sort cpu --output json");
    terminal.press("ops-agent run --log-level wa\t --help | wc -l\n");
    wait_for(&terminal, "--log-level warn");
    terminal.press("exit\n");
    assert!(terminal.wait().code().is_some());
}

#[requires("zsh")]
#[test]
fn zsh_completes_ids() {
    let (api, directory) = (DaemonApi::start(1), installed());
    let mut terminal = Terminal::run(shell(directory.path(), "zsh", &["-f", "-i"]), 200, 50);
    terminal.press("autoload -Uz compinit; compinit -u -D; eval \"$(ops-daemon completions zsh)\"; echo read''y\n");
    wait_for(&terminal, "ready");
    // Keys that come before the line editor is ready are lost.
    wait_until("a prompt", || terminal.printed().ends_with("\x1b[?2004h"));
    terminal.press(&format!("ops-daemon status --socket {} ag\t\n", api.socket.display()));
    wait_for(&terminal, "starting");
    terminal.press("exit\n");
    assert!(terminal.wait().code().is_some());
}

#[requires("fish")]
#[test]
fn fish_completes_ids() {
    let (api, directory) = (DaemonApi::start(2), installed());
    let socket = api.socket.display();
    let script =
        format!("ops-daemon completions fish | source; complete -C 'ops-daemon restart --socket {socket} agent-0 a'");
    let output = shell(directory.path(), "fish", &["--no-config", "-c", &script]).output().unwrap();
    let text = stdout(&output);
    let found: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(found, ["agent-1", "all"], "what the line has already is left out: {output:?}");
}

fn ids(args: &[&str]) -> Output {
    Command::new(programs::daemon()).arg("complete-ids").args(args).output().unwrap()
}

#[test]
fn a_completion_is_silent_if_no_daemon_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hung.sock");
    // It accepts connections and never answers.
    let _listener = UnixListener::bind(&path).unwrap();
    let hung = path.display().to_string();
    for args in [
        &["status", "--socket", "/nowhere/daemon.sock"][..],
        &["status", "--config", "/nowhere/daemon.yaml"],
        &["status", "--config=/dev/zero"],
        &["status", "--socket", &hung],
        &["logs", "-s"],
    ] {
        let output = ids(args);
        assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("", ""), "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

/// The pages of a program, by their names.
fn pages(directory: &Path, name: &str) -> Vec<(String, String)> {
    let output = Command::new(directory.join(name)).args(["man", "--directory", "."]).current_dir(directory).output();
    assert!(output.as_ref().unwrap().status.success(), "{output:?}");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_page = |path: &Path| path.extension().is_some_and(|end| end == "1");
    let page =
        |path: &Path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap());
    files.filter(|path| is_page(path)).map(|path| page(&path)).filter(|(page, _)| page.starts_with(name)).collect()
}

#[test]
fn every_command_has_a_man_page_whose_examples_are_right() {
    let directory = installed();
    for program in ["ops-agent", "ops-daemon"] {
        let pages = pages(directory.path(), program);
        let help = Command::new(directory.path().join(program)).arg("--help").output().unwrap();
        let help = stdout(&help);
        let (_, commands) = help.split_once("Commands:\n").unwrap();
        let (commands, _) = commands.split_once("\n\n").unwrap();
        let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let names: Vec<&str> = names.filter(|name| !name.is_empty() && *name != "help").collect();
        assert!(names.len() > 7, "{names:?}");
        for name in names {
            let wanted = format!("{program}-{name}");
            assert!(pages.iter().any(|(page, _)| *page == wanted), "{wanted} has no page");
        }
        for (page, text) in &pages {
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
                assert!(text.contains(&format!(".SH {section}\n")), "{page} has no {section}");
            }
            let examples: Vec<&str> = text.split(".RS 4\n").skip(1).filter_map(|rest| rest.lines().next()).collect();
            assert!(!examples.is_empty(), "{page} has no example");
            for example in examples {
                let example = example.replace("\\-", "-");
                let mut words = example.split(' ');
                assert_eq!(words.next(), Some(program), "{page}: {example}");
                // Everything before it is parsed.
                let mut command = Command::new(directory.path().join(program));
                let output = command.args(words).arg("--help").output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{page}: {example}: {output:?}");
            }
        }
    }
}

#[requires("mandoc")]
#[test]
fn mandoc_has_no_complaint_about_the_man_pages() {
    let directory = installed();
    for program in ["ops-agent", "ops-daemon"] {
        for (page, _) in pages(directory.path(), program) {
            let file = directory.path().join(format!("{page}.1"));
            let output = Command::new("mandoc").args(["-T", "lint", "-W", "all"]).arg(&file).output().unwrap();
            let text = stdout(&output);
            // The page of another command may not be installed.
            let found: Vec<&str> = text.lines().filter(|line| !line.contains("referenced manual not found")).collect();
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}
