//! Random programs that grow trees of processes, as scripts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;

use crate::process_list::Process;
use crate::support::find_program;

/// The source of the program whose first thread ends.
const LEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/trees/leader.c");

/// The program of a process that ignores SIGTERM.
const STUBBORN: &str = "stubborn";

/// The programs of a chain of processes, in which each one starts the next in a new session, and ends.
const RUNNER: &str = "runner";
const PAUSE: &str = "pause";

/// How deep wrappers are nested.
const MAX_DEPTH: u32 = 3;

/// One agent's directory with copies of the programs that its tree executes.
pub(super) struct Programs {
    directory: PathBuf,
    /// Whether there is a program whose first thread ends.
    has_leader: bool,
}

/// A program for an agent.
pub(super) struct TreeProgram {
    /// The text of its script.
    pub(super) script: String,
    /// What it starts, for people.
    pub(super) kinds: Vec<&'static str>,
    /// Whether a process of it has no variables. Once its parent has ended, only a daemon that was there knows it.
    pub(super) hides: bool,
}

impl Programs {
    /// Copies the programs. `leader` is the compiled [`LEADER`], if there is a compiler.
    pub(super) fn new(directory: &Path, leader: Option<&Path>) -> Self {
        fs::create_dir_all(directory).expect("a directory");
        let directory = fs::canonicalize(directory).expect("a directory");
        let copies = [("sh", "sh"), ("sleep", "sleep"), ("setsid", "setsid")];
        for (name, program) in copies.into_iter().chain([(STUBBORN, "sleep"), (RUNNER, "sh"), (PAUSE, "sleep")]) {
            let program = find_program(program).expect("a program that every system has");
            fs::copy(program, directory.join(name)).expect("a copy");
        }
        if let Some(leader) = leader {
            fs::copy(leader, directory.join("leader")).expect("a copy");
        }
        let d = directory.display();
        let chain = format!("{d}/{PAUSE} 0.05\n{d}/setsid {d}/{RUNNER} {d}/chain.sh &\n");
        fs::write(directory.join("chain.sh"), chain).expect("a script");
        Self { directory, has_leader: leader.is_some() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The shell that runs the script of the agent.
    pub(super) fn shell(&self) -> PathBuf {
        self.directory.join("sh")
    }

    /// Whether a stop may need SIGKILL to end this process.
    pub(super) fn may_outlast_sigterm(&self, process: &Process) -> bool {
        [STUBBORN, RUNNER, PAUSE].iter().any(|name| process.program == self.directory.join(name))
    }

    /// A random program, which writes the pid of each main process to `mains`. `is_stubborn`: some of it ignores SIGTERM.
    pub(super) fn random(&self, rng: &mut Rng, mains: &Path, is_stubborn: bool) -> TreeProgram {
        let mut program = TreeProgram { script: String::new(), kinds: Vec::new(), hides: false };
        let d = self.directory.display();
        let _ = writeln!(program.script, "echo $$ >>{}", mains.display());
        if is_stubborn {
            program.kinds.push("ignores SIGTERM");
            let _ = writeln!(program.script, "{d}/sh -c 'trap \"\" TERM; exec {d}/{STUBBORN} 100000' &");
        }
        for _ in 0..rng.u32(1..=3) {
            let line = self.member(rng, 0, &mut program);
            let _ = writeln!(program.script, "{line} &");
        }
        let end = match rng.u32(0..3) {
            0 if self.has_leader => {
                program.kinds.push("main process whose first thread ends");
                format!("exec {d}/leader")
            }
            1 => format!("exec {d}/sleep 100000"),
            _ => {
                program.kinds.push("shell as main process");
                format!("while :; do {d}/sleep 100000; done")
            }
        };
        let _ = writeln!(program.script, "{end}");
        program
    }

    /// A command that becomes one member, which may start others. It contains no `'`, unless it is a wrapper.
    fn member(&self, rng: &mut Rng, depth: u32, program: &mut TreeProgram) -> String {
        let d = self.directory.display();
        let (kind, command) = match rng.u32(0..10) {
            0 => ("session of its own", format!("{d}/setsid {d}/sleep 100000")),
            1 => ("double fork", format!("{d}/setsid {d}/sh -c \"{d}/sleep 100000 & exit\"")),
            2 => {
                program.hides = true;
                ("no variables", format!("env -i {d}/setsid {d}/sleep 100000"))
            }
            3 => {
                program.hides = true;
                ("double fork without variables", format!("env -i {d}/setsid {d}/sh -c \"{d}/sleep 100000 & exit\""))
            }
            4 => ("stopped", format!("{d}/sh -c \"kill -STOP \\$\\$; exec {d}/sleep 100000\"")),
            5 => ("parent of a zombie", format!("{d}/sh -c \"{d}/sleep 0 & exec {d}/sleep 100000\"")),
            6 if self.has_leader => ("first thread ends", format!("{d}/leader")),
            7 => ("chain of parents that end", format!("{d}/{RUNNER} {d}/chain.sh")),
            8 | 9 if depth < MAX_DEPTH => {
                let file = self.directory.join(format!("wrapper-{}.sh", program.kinds.len()));
                program.kinds.push("wrapper");
                let members: Vec<String> =
                    (0..rng.u32(1..=2)).map(|_| self.member(rng, depth + 1, program) + " &\n").collect();
                fs::write(&file, members.concat() + "wait\n").expect("a script");
                return format!("{d}/sh {}", file.display());
            }
            _ => ("child", format!("{d}/sleep 100000")),
        };
        program.kinds.push(kind);
        command
    }
}

/// Compiles [`LEADER`].
pub(super) fn leader(directory: &Path) -> Result<PathBuf, String> {
    let program = directory.join("leader");
    let compiled = Command::new("cc").args(["-pthread", "-o"]).arg(&program).arg(LEADER).output();
    match compiled {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("cc does not start: {error}")),
    }
}
