//! The command line of `daemon`.

pub(crate) mod ask;
pub(crate) mod control;
pub(crate) mod page;
pub(crate) mod run;
pub(crate) mod status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use statemachine::supervision::Supervision;

use self::control::{ControlArgs, LogsArgs};
use super::config_args::ConfigArgs;
use super::output::usage;
use super::{generate, lifecycle};
use crate::daemon::app::ConfigSource;
use ops_protocol::Command;

/// The daemon is not running: 3 of LSB's init scripts.
const NOT_RUNNING: u8 = 3;
/// Whether it runs, or how its agents are, cannot be told: 4 of the same.
const UNKNOWN: u8 = 4;

/// Starts agents, looks after them, and says how they are.
#[derive(Debug, Parser)]
#[command(name = "daemon", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    /// What to do. Without it, `run` is meant.
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    run: ConfigArgs,
}

const AFTER_HELP: &str = "\
Without --config, ./configs/daemon.yaml is read, then /etc/ops-agent/daemon.yaml. The commands that ask a running daemon \
find its socket there too, unless --socket names it.

Signals: TERM ends the daemon and leaves its agents running; the next daemon adopts them as they are. INT (Ctrl-C, or \
`daemon shutdown`) stops all agents in order first, for up to 45 s. A second signal of either kind ends the daemon at \
once. HUP reads the configuration again: new agents start, removed ones stop, changed ones restart, and the others are \
not touched; a bad file changes nothing.

Exit codes: 0 all is well, 1 something is not, 3 no daemon is running, 4 unknown, 64 wrong usage, 78 wrong configuration.

Start here: `daemon validate`, `daemon run`, then `daemon status` and `daemon why ID` from another terminal.";

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run in the foreground until told to stop
    Run(ConfigArgs),
    /// Check a configuration as `run` and a reload would, and print all that is wrong with it
    Validate(ConfigArgs),
    /// Show every agent in a line, what is not well first to be read
    Status(status::Args),
    /// Show the five signals of an agent side by side, and what they add up to
    Why(WhyArgs),
    /// Start an agent, also one that was given up
    Start(ControlArgs),
    /// Stop an agent; it stays stopped, over a restart of the daemon too, until it is started
    Stop(ControlArgs),
    /// Stop an agent and start it again
    Restart(ControlArgs),
    /// Print the last lines that an agent has written
    Logs(LogsArgs),
    /// Stop all agents in order, then the daemon
    Shutdown(Whereabouts),
    /// Print the state machine of a supervised agent
    Lifecycle(lifecycle::Args),
    /// Print the completions for a shell
    Completions(generate::CompletionArgs),
    /// Print the man page
    Man,
}

/// Where a running daemon is.
#[derive(Debug, Clone, Args)]
struct Whereabouts {
    /// The socket of the daemon
    #[arg(short, long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration file that names it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What `why` takes.
#[derive(Debug, Args)]
struct WhyArgs {
    /// The agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    at: Whereabouts,
}

/// Runs what the command line asks for, and gives its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command.unwrap_or(CliCommand::Run(cli.run)) {
        CliCommand::Run(args) => run::run(source(&args)),
        CliCommand::Validate(args) => run::validate(&source(&args)),
        CliCommand::Status(args) => status::run(&args),
        CliCommand::Why(args) => status::why(&args),
        CliCommand::Start(args) => control::run(Command::Start, &args),
        CliCommand::Stop(args) => control::run(Command::Stop, &args),
        CliCommand::Restart(args) => control::run(Command::Restart, &args),
        CliCommand::Logs(args) => control::logs(&args),
        CliCommand::Shutdown(args) => control::shutdown(&args),
        CliCommand::Lifecycle(args) => lifecycle::run::<Supervision>(&args),
        CliCommand::Completions(args) => generate::completions(&mut Cli::command(), &args),
        CliCommand::Man => generate::man(Cli::command()),
    }
}

fn source(args: &ConfigArgs) -> ConfigSource {
    ConfigSource { file: args.config.clone(), overrides: args.overrides() }
}
